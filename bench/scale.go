package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Scale is how the cost of a large ring is measured: members that speak the real protocol
// and run no jobs.
type Scale struct {
	Rings []RingSize
	Joins int           // of one more member, each of which leaves again
	Rest  time.Duration // how long the ring is watched while nothing changes
	Limit time.Duration // for each ring: no join begins later
	All   time.Duration // for all of it: what does not come about on this machine is an error
	Where
}

// RingSize is a ring to measure.
type RingSize struct{ Members, Partitions int }

// DefaultScale takes about 40 s.
func DefaultScale() Scale {
	return Scale{Joins: 5, Rest: 1500 * time.Millisecond, Limit: 4 * time.Second, All: 42 * time.Second,
		Rings: []RingSize{{10, 64}, {10, 4096}, {100, 64}, {100, 4096}, {1000, 64}, {1000, 4096}}}
}

// Scaled is what one ring costs. A join takes from its call until the member may run jobs
// of its whole share. A stall is the longest command of a join, by the server's own clock;
// a ping the longest answer to one a millisecond on a connection of its own.
type Scaled struct {
	Members    int     `json:"members"`
	Partitions int     `json:"partitions"`
	Join       float64 `json:"join_p50_ms"`
	Stall      float64 `json:"stall_p50_ms"` // of the joins' longest
	StallMax   float64 `json:"stall_max_ms"`
	Ping       float64 `json:"ping_p50_ms"` // of the joins' longest
	Rest       float64 `json:"rest_redis_ms_per_s"`
	Noisy      bool    `json:"noisy,omitempty"` // others used the machine: the figures are no pass
}

const scalePatience = 20 * time.Second

var errOver = errors.New("the time is over")

// RunScale measures every ring on a server of its own. With an error come the rings before.
func RunScale(ctx context.Context, o Scale) ([]Scaled, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, o.All, errOver)
	defer cancel()
	var out []Scaled
	for _, size := range o.Rings {
		var one Scaled
		var used usage
		err := o.on(ctx, func(url string) (err error) {
			ctx, cancel := context.WithTimeoutCause(ctx, scalePatience, errOver)
			defer cancel()
			used, err = timed(ctx, url, func() error {
				one, err = o.ring(ctx, url, size)
				return err
			})
			return err
		})
		if err != nil {
			return out, fmt.Errorf("%d members, %d partitions: %w", size.Members, size.Partitions, err)
		}
		one.Noisy = used.others() > quiet
		o.tell("%d members, %d partitions: %s; others took %.2f CPUs", size.Members, size.Partitions, used.took.Round(time.Millisecond), used.others())
		out = append(out, one)
	}
	return out, nil
}

func (o Scale) ring(ctx context.Context, url string, size RingSize) (Scaled, error) {
	out := Scaled{Members: size.Members, Partitions: size.Partitions}
	ringBegan := time.Now()
	r, err := openRing(ctx, ringSpec{url: url, partitions: size.Partitions})
	if err != nil {
		return out, err
	}
	defer r.close()
	crowd, err := gather(ctx, r, size.Members)
	if err != nil {
		return out, err
	}
	defer crowd.close()
	r.lead()
	if err := r.settled(ctx, size.Members); err != nil {
		return out, err
	}
	if out.Rest, err = o.rest(ctx, url); err != nil {
		return out, err
	}
	watch, err := watchStalls(ctx, url, r.store.ScriptName)
	if err != nil {
		return out, err
	}
	defer watch.close(ctx)
	var joins, stalls, pings []float64
	for n := 0; n < o.Joins && (n == 0 || time.Since(ringBegan) < o.Limit); n++ {
		if err := watch.begin(ctx); err != nil {
			return out, err
		}
		g := crowd.newMember(fmt.Sprintf("guest-%d", n), size.Partitions/(size.Members+1))
		began := time.Now()
		g.run()
		err := g.served(ctx)
		joins = append(joins, millis(time.Since(began)))
		stall, ping, watched := watch.end(ctx)
		stalls, pings = append(stalls, stall), append(pings, ping)
		g.leave()
		if err := errors.Join(err, watched); err != nil {
			return out, err
		}
		if err := r.settled(ctx, size.Members); err != nil {
			return out, err
		}
	}
	o.tell("longest commands: %s", watch.took())
	out.Join, out.Stall, out.StallMax, out.Ping = round1(median(joins)), round2(median(stalls)), round2(quantile(stalls, 1)), round2(median(pings))
	return out, nil
}

// rest is the server's CPU time, in ms a second, while nothing changes: heartbeats, idle
// reads, and the leader that looks for the dead.
func (o Scale) rest(ctx context.Context, url string) (float64, error) {
	used, err := timed(ctx, url, func() error { return wait(ctx, o.Rest) })
	if err != nil {
		return 0, err
	}
	return round1(millis(used.server) / used.took.Seconds()), nil
}

// stallWatch looks at a server while something happens.
type stallWatch struct {
	c      *redis.Client
	before map[string]string // the settings to put back
	stop   context.CancelFunc
	all    sync.WaitGroup
	worst  time.Duration // of the pings
	failed error

	script  func(hash string) string
	longest map[string]time.Duration // by command or script, of all joins
}

// took is the time of the three longest commands.
func (w *stallWatch) took() string {
	names := slices.SortedFunc(maps.Keys(w.longest), func(a, b string) int { return cmp.Compare(w.longest[b], w.longest[a]) })
	var all []string
	for _, name := range names[:min(3, len(names))] {
		all = append(all, fmt.Sprintf("%s %.2f ms", name, millis(w.longest[name])))
	}
	return strings.Join(all, ", ")
}

// stallLog are the settings under which the server notes its long commands.
func stallLog() map[string]string {
	return map[string]string{"slowlog-log-slower-than": "100", "slowlog-max-len": "4096"} // µs
}

func watchStalls(ctx context.Context, url string, script func(hash string) string) (*stallWatch, error) {
	c, err := rawClient(url)
	if err != nil {
		return nil, err
	}
	w := &stallWatch{c: c, before: map[string]string{}, script: script, longest: map[string]time.Duration{}}
	for name, value := range stallLog() {
		old, err := c.ConfigGet(ctx, name).Result()
		if err == nil {
			w.before[name] = old[name]
			err = c.ConfigSet(ctx, name, value).Err()
		}
		if err != nil {
			w.close(ctx)
			return nil, fmt.Errorf("watch the server's long commands: %w", err)
		}
	}
	return w, nil
}

func (w *stallWatch) close(ctx context.Context) {
	for name, value := range w.before {
		_ = w.c.ConfigSet(context.WithoutCancel(ctx), name, value).Err() // of the user's server; ours goes
	}
	_ = w.c.Close()
}

// begin forgets what was, and pings.
func (w *stallWatch) begin(ctx context.Context) error {
	if err := w.c.Do(ctx, "SLOWLOG", "RESET").Err(); err != nil {
		return fmt.Errorf("watch the server's long commands: %w", err)
	}
	pings, stop := context.WithCancel(ctx)
	w.stop, w.worst, w.failed = stop, 0, nil
	w.all.Go(func() {
		every := time.NewTicker(time.Millisecond)
		defer every.Stop()
		for w.failed == nil {
			sent := time.Now()
			w.failed = w.c.Ping(ctx).Err()
			w.worst = max(w.worst, time.Since(sent))
			select {
			case <-every.C:
			case <-pings.Done():
				return
			}
		}
	})
	return nil
}

// end tells the longest command and the longest ping since begin, in ms.
func (w *stallWatch) end(ctx context.Context) (stall, ping float64, err error) {
	w.stop()
	w.all.Wait()
	logged, err := w.c.SlowLogGet(ctx, 4096).Result()
	longest := time.Duration(0)
	for _, e := range logged {
		name := strings.ToLower(e.Args[0])
		if name == "slowlog" || name == "info" {
			continue
		}
		if len(e.Args) > 1 && name == "evalsha" {
			name = cmp.Or(w.script(e.Args[1]), name)
		}
		longest = max(longest, e.Duration)
		w.longest[name] = max(w.longest[name], e.Duration)
	}
	if err = errors.Join(err, w.failed); err != nil {
		err = fmt.Errorf("watch the server's long commands: %w", err)
	}
	return millis(longest), millis(w.worst), err
}
