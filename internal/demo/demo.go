// Package demo runs the whole story on real input: processes that hash files while the
// ring of workers grows, loses a worker, loses its leader and shrinks; then it audits
// what happened from records that are independent of each other.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"ringmaster/configs"
	"ringmaster/embedded"
	"ringmaster/internal/service"
	"ringmaster/job"
	"ringmaster/streams"
)

// Limits of Options.
const (
	MinJobs = 20
	MaxJobs = 1_000_000
)

// Options say what to demonstrate.
type Options struct {
	Jobs   int    // MinJobs to MaxJobs
	Keys   int    // 0: one for each directory
	Seed   uint64 // of the order of files
	Dir    string // empty: the tree of Go, or files that the demo makes
	Keep   bool   // leave the queue and the ledgers where they are
	Binary string // program that has the commands DispatcherCommand and WorkerCommand

	Server    configs.Common // where Redis is, and the namespace
	Memory    bool           // start a store in memory instead of using Server's Redis
	Stderr    io.Writer      // for progress
	Interacts bool           // Stderr is a terminal
	Color     bool
}

// Validate returns an ErrInvalid that names the first thing wrong.
func (o Options) Validate() error {
	if o.Jobs < MinJobs || o.Jobs > MaxJobs {
		return job.Invalid("--jobs %d: want %d to %d", o.Jobs, MinJobs, MaxJobs)
	}
	if o.Keys < 0 || o.Keys > MaxJobs {
		return job.Invalid("--keys %d: want 1 to %d, or 0 for one key for each directory", o.Keys, MaxJobs)
	}
	return nil
}

// run is one demonstration.
type run struct {
	opts     Options
	dir      string // temporary
	store    *streams.Store
	queue    streams.Queue
	crew     *crew
	feeder   *feeder
	follower *follower
	recorder *recorder
	progress *progress

	tasks             []task
	storeName         string
	killed            map[string]bool // incarnations
	dispatchersKilled int
}

// Run demonstrates. It returns what it found; the error says why it could not be
// carried through. It ends with ctx. When it returns, its processes have ended and,
// unless opts.Keep, its queue and its files are gone.
func Run(ctx context.Context, opts Options) (result Result, err error) {
	if err := opts.Validate(); err != nil {
		return Result{}, err
	}
	began := time.Now()
	d := &run{opts: opts, killed: map[string]bool{}, progress: newProgress(opts, began)}
	defer d.progress.stop()
	if d.dir, err = os.MkdirTemp("", "ringmaster-demo-"); err != nil {
		return Result{}, fmt.Errorf("make a directory for ledgers: %w", err)
	}
	defer func() { err = errors.Join(err, d.removeFiles()) }()

	found, err := findCorpus(ctx, opts.Dir, d.dir, opts.Seed)
	if err != nil {
		return Result{}, err
	}
	d.tasks = found.tasks(opts.Jobs, opts.Keys, opts.Seed)
	closeStore, err := d.open(ctx)
	if err != nil {
		return Result{}, err
	}
	defer closeStore()
	defer func() { err = errors.Join(err, d.removeQueue(ctx)) }()
	d.progress.say("%d jobs, each hashes one of %d files below %s; store: %s; queue: %s", opts.Jobs, len(found.files), found.root, d.storeName, d.queue.Name)

	evidence, moves, err := d.perform(ctx)
	if err != nil {
		return Result{}, err
	}
	return d.judge(evidence, moves, began), nil
}

// open connects to the store, or starts one, and makes the queue.
func (d *run) open(ctx context.Context) (closeAll func(), err error) {
	server := d.opts.Server
	closeMemory := func() {}
	if d.opts.Memory {
		mem, err := embedded.Start("127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		closeMemory = mem.Close
		server.Redis, server.RedisMode = mem.URL(), "standalone"
	}
	if d.store, err = service.Open(server, "demo"); err != nil {
		closeMemory()
		return nil, err
	}
	closeAll = func() {
		_ = d.store.Close() // all has been read
		closeMemory()
	}
	if err := d.store.Ping(ctx); err != nil {
		closeAll()
		return nil, fmt.Errorf("ask %s: %w", configs.RedactURL(server.Redis), err)
	}
	name := "demo-" + strings.ReplaceAll(uuid.NewString(), "-", "")[:10]
	if d.queue, err = d.store.CreateQueue(ctx, streams.Queue{Name: name, Journal: true}); err != nil {
		closeAll()
		return nil, err
	}
	d.storeName = describeStore(ctx, d.store, server)
	pace, unpaced := pacing(d.tasks, feedRate(d.opts.Jobs))
	d.crew = newCrew(d.opts.Binary, d.dir, spec{
		Redis: server.Redis, RedisMode: server.RedisMode, Password: string(server.RedisPassword),
		Namespace: server.Namespace, Queue: name, Pace: pace, Unpaced: unpaced,
	})
	d.follower = newFollower(d.store, d.queue)
	d.recorder = newRecorder()
	return closeAll, nil
}

// feedRate spreads the jobs over 6 to 12 s.
func feedRate(jobs int) float64 {
	const usual = 1250.0 // a second; what two cores manage without being busy
	n := float64(jobs)
	return n / min(max(n/usual, 6), 12)
}

// pacing is how long handlers take at least: long enough that several are under way at
// any time. The jobs of a busy key run one by one, so they are not slowed.
func pacing(tasks []task, rate float64) (pace time.Duration, unpaced []string) {
	const underWay = 8
	counts := map[string]int{}
	for _, t := range tasks {
		counts[t.key]++
	}
	for key, n := range counts {
		if n > max(len(tasks)/100, 5) {
			unpaced = append(unpaced, key)
		}
	}
	return min(time.Duration(underWay/rate*float64(time.Second)), 500*time.Millisecond), unpaced
}

// moves is what the control stream tells about the changes of the ring.
type moves struct {
	flips   []Flip
	resizes int
}

// perform runs the story and gathers the evidence. All processes have ended when it
// returns.
func (d *run) perform(ctx context.Context) (Evidence, moves, error) {
	defer d.crew.end()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	group, ctx := errgroup.WithContext(ctx)
	recording, stopRecording := context.WithCancel(ctx)
	defer stopRecording()
	group.Go(func() error { return d.recorder.run(recording, d.store, d.queue) })
	group.Go(func() error { return d.crew.watch(recording) })

	var moved moves
	group.Go(func() error {
		defer stopRecording()
		if err := d.assemble(ctx); err != nil {
			return fmt.Errorf("start: %w", err)
		}
		d.progress.say("2 dispatchers and 3 workers are up, each a process; all %d partitions are owned", d.queue.Partitions)
		mark := d.recorder.mark()
		if err := d.work(ctx); err != nil {
			return err
		}
		moved.flips, moved.resizes = flipsOf(d.recorder.since(mark))
		return nil
	})
	err := group.Wait()
	d.progress.stop()
	d.crew.end()
	if err != nil {
		return Evidence{}, moves{}, err
	}
	e, err := d.evidence(context.WithoutCancel(ctx))
	return e, moved, err
}

// work feeds the jobs while the ring changes, and waits until they have ended.
func (d *run) work(ctx context.Context) error {
	producer := d.store.NewProducer(d.queue)
	defer producer.Close()
	d.feeder = &feeder{producer: producer, tasks: d.tasks, rate: feedRate(d.opts.Jobs), ceiling: int(feedCeiling * float64(d.opts.Jobs))}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return d.feeder.run(ctx) })
	group.Go(func() error {
		if err := d.direct(ctx); err != nil {
			return err
		}
		d.feeder.raise(d.opts.Jobs)
		return nil
	})
	group.Go(func() error { return d.untilEnded(ctx) })
	return group.Wait()
}

// untilEnded follows the journal until every job has ended. What has not ended when
// nothing has for a long time is the audit's business.
func (d *run) untilEnded(ctx context.Context) error {
	const patience = 15 * time.Second
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	last, since := -1, time.Now()
	for {
		ended, err := d.follower.catchUp(ctx)
		if err != nil {
			return err
		}
		d.progress.set(d.feeder.fed(), ended)
		fed := d.feeder.fed()
		if ended >= d.opts.Jobs && fed == d.opts.Jobs {
			return nil
		}
		if ended != last || fed < d.opts.Jobs {
			last, since = ended, time.Now()
		}
		if time.Since(since) > patience {
			d.progress.say("no job has ended for %s: %d of %d are still open", patience, d.opts.Jobs-ended, d.opts.Jobs)
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (d *run) removeQueue(ctx context.Context) error {
	if d.opts.Keep {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := d.store.DeleteQueue(ctx, d.queue.Name); err != nil {
		return fmt.Errorf("remove queue %s: %w", d.queue.Name, err)
	}
	return nil
}

func (d *run) removeFiles() error {
	if d.opts.Keep {
		d.progress.say("kept: queue %s and the ledgers in %s", d.queue.Name, filepath.Clean(d.dir))
		return nil
	}
	if err := os.RemoveAll(d.dir); err != nil {
		return fmt.Errorf("remove temporary files: %w", err)
	}
	return nil
}
