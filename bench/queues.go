package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"ringmaster/streams"
)

// Queues is how the cost of queues at rest is measured: a dispatcher and workers as processes of
// their own, each worker of every queue, and no jobs.
type Queues struct {
	Numbers []int // of queues, each measured on a server of its own
	Workers int
	Rest    time.Duration // for which they are watched, and before it left alone for half as long
	Limit   time.Duration // until all must have settled
	Binary  string        // has the command WorkerCommand
	Where
}

// DefaultQueues takes about a minute and a half.
func DefaultQueues() Queues {
	return Queues{Numbers: []int{1, 50, 200}, Workers: 3, Rest: 10 * time.Second, Limit: time.Minute}
}

// Rested is what so many queues cost at rest.
type Rested struct {
	Queues      int     `json:"queues"`
	Workers     int     `json:"workers"`
	Settled     float64 `json:"settled_seconds"` // from the first process to the last partition
	Commands    float64 `json:"commands_per_second"`
	Redis       float64 `json:"redis_cpu_percent"`
	Dispatcher  float64 `json:"dispatcher_cpu_percent"`
	Worker      float64 `json:"worker_cpu_percent"` // of one of them
	Connections int     `json:"connections"`
	RedisMB     float64 `json:"redis_mb"`
	DispatchMB  float64 `json:"dispatcher_mb"`
	WorkerMB    float64 `json:"worker_mb"`
	Changes     int     `json:"changes"` // of leaders and plans while nothing should change
	Noisy       bool    `json:"noisy,omitempty"`
}

// RunQueues measures each number of queues. With an error come those before.
func RunQueues(ctx context.Context, o Queues) ([]Rested, error) {
	if o.Binary == "" {
		exe, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("bench: %w", err)
		}
		o.Binary = exe
	}
	var out []Rested
	for _, n := range o.Numbers {
		var one Rested
		err := o.on(ctx, func(url string) (err error) {
			one, err = o.queues(ctx, url, n)
			return err
		})
		if err != nil {
			return out, fmt.Errorf("%d queues: %w", n, err)
		}
		o.tell("%d queues, %d workers: settled in %.1f s, %.0f commands/s", n, o.Workers, one.Settled, one.Commands)
		out = append(out, one)
	}
	return out, nil
}

func (o Queues) queues(ctx context.Context, url string, n int) (Rested, error) {
	out := Rested{Queues: n, Workers: o.Workers}
	store, err := streams.Open(streams.Options{URL: url})
	if err != nil {
		return out, fmt.Errorf("bench: %w", err)
	}
	defer func() { _ = store.Close() }()
	server, err := rawClient(url)
	if err != nil {
		return out, err
	}
	defer func() { _ = server.Close() }()
	names := make([]string, n)
	for i := range names {
		names[i] = queueName + "-" + strconv.Itoa(i)
	}
	c := newCrew(o.Binary, url)
	defer c.end()
	began := time.Now()
	leader, err := c.launch(ctx, workerSpec{Name: "dispatcher", Leads: true})
	if err != nil {
		return out, err
	}
	workers := make([]*process, o.Workers)
	for i := range workers {
		if workers[i], err = c.launch(ctx, workerSpec{Name: "w" + strconv.Itoa(i), Concurrency: 16, Queues: names}); err != nil {
			return out, err
		}
	}
	if err := o.settle(ctx, store, names); err != nil {
		return out, err
	}
	out.Settled = round1(time.Since(began).Seconds())
	if err := wait(ctx, o.Rest/2); err != nil {
		return out, err
	}
	before, err1 := o.count(ctx, server, names, leader, workers)
	err2 := wait(ctx, o.Rest)
	after, err3 := o.count(ctx, server, names, leader, workers)
	if err := errors.Join(err1, err2, err3); err != nil {
		return out, err
	}
	out.between(before, after)
	return out, nil
}

// settle waits until the partitions of every queue are spread over all workers as planned.
func (o Queues) settle(ctx context.Context, store *streams.Store, names []string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, o.Limit, errOver)
	defer cancel()
	for i := 0; i < len(names); {
		v, err := store.Inspect().RingView(ctx, names[i])
		owners := map[string]bool{}
		for _, p := range v.Partitions {
			owners[p.Owner] = true
		}
		if err == nil && v.Phase == 0 && len(owners) == o.Workers && !owners["-"] {
			i++
			continue
		}
		if err := wait(ctx, 10*settlePoll); err != nil {
			return fmt.Errorf("wait for the partitions of %s: %w", names[i], err)
		}
	}
	return nil
}

// counted is what all processes have used until a moment.
type counted struct {
	usage
	commands   int
	clients    int
	memory     int // of the server, in bytes
	dispatcher footprint
	worker     footprint
	all        time.Duration // CPU of all processes
	changes    int           // sum of the terms of all leaders and of all ring epochs
}

// footprint is the CPU time and memory of one process.
type footprint struct {
	cpu    time.Duration
	memory int
}

func (o Queues) count(ctx context.Context, server *redis.Client, names []string, leader *process, workers []*process) (counted, error) {
	var c counted
	for _, name := range names {
		v, err := server.HMGet(ctx, streams.DefaultNamespace+":{"+name+"}:ring", "term", "epoch").Result()
		if err != nil {
			return c, fmt.Errorf("look at %s: %w", name, err)
		}
		for _, n := range v {
			text, _ := n.(string)
			number, _ := strconv.Atoi(text)
			c.changes += number
		}
	}
	used, err := measure(ctx, server)
	if err != nil {
		return c, err
	}
	c.usage = used
	for _, name := range []string{"stats", "clients", "memory"} {
		info, err := server.Info(ctx, name).Result()
		if err != nil {
			return c, fmt.Errorf("read the server's counts: %w", err)
		}
		for line := range strings.Lines(info) {
			field, value, _ := strings.Cut(strings.TrimSpace(line), ":")
			n, _ := strconv.Atoi(value)
			switch field {
			case "total_commands_processed":
				c.commands = n
			case "connected_clients":
				c.clients = n
			case "used_memory":
				c.memory = n
			}
		}
	}
	c.dispatcher = lookAt(leader.cmd.Process.Pid)
	c.all = c.dispatcher.cpu
	for _, w := range workers {
		c.worker = lookAt(w.cmd.Process.Pid)
		c.all += c.worker.cpu
	}
	return c, nil
}

// lookAt is zero where the system does not tell.
func lookAt(pid int) footprint {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	_, rest, found := strings.Cut(string(raw), ") ")
	f := strings.Fields(rest)
	if err != nil || !found || len(f) < 22 {
		return footprint{}
	}
	user, _ := strconv.ParseInt(f[11], 10, 64)
	system, _ := strconv.ParseInt(f[12], 10, 64)
	pages, _ := strconv.Atoi(f[21])
	return footprint{time.Duration(user+system) * tick, pages * os.Getpagesize()}
}

func (r *Rested) between(a, b counted) {
	seconds := b.at.Sub(a.at).Seconds()
	share := func(d time.Duration) float64 { return round1(100 * d.Seconds() / seconds) }
	megabytes := func(n int) float64 { return round1(float64(n) / 1e6) }
	r.Commands = round1(float64(b.commands-a.commands) / seconds)
	r.Redis, r.Dispatcher, r.Worker = share(b.server-a.server), share(b.dispatcher.cpu-a.dispatcher.cpu), share(b.worker.cpu-a.worker.cpu)
	r.Connections, r.RedisMB = b.clients-2, megabytes(b.memory) // without those that look
	r.DispatchMB, r.WorkerMB = megabytes(b.dispatcher.memory), megabytes(b.worker.memory)
	r.Changes = b.changes - a.changes
	used := b.since(a.usage)
	r.Noisy = used.others()-(b.all-a.all).Seconds()/seconds > quiet
}
