package leading

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"ringmaster/configs"
	"ringmaster/resize"
	"ringmaster/resize/runner"
	"ringmaster/streams"
)

// shared is what the rings of a process do together. The zero value: nothing.
type shared struct {
	watch  *watch
	leases *streams.Leases
	feed   *streams.Feed
	rings  atomic.Int64 // how many there are
}

// scanEvery is how often permits are looked for everywhere: of one ring a second.
func (x *shared) scanEvery() time.Duration {
	return max(10*time.Second, time.Duration(x.rings.Load())*time.Second)
}

// Leaders runs one runner for each queue that the server has. All fields are wanted.
type Leaders struct {
	Store      *streams.Store
	Dispatcher string // its name, of which no other process has the same
	Rules      runner.Config
	LeaseTTL   time.Duration // of workers
	Log        *slog.Logger

	share *shared
}

// Rules are the runner's, as a dispatcher's settings have them.
func Rules(cfg configs.Dispatcher) runner.Config {
	rc := runner.Default()
	rc.Lease, rc.Detect = cfg.LeaderLease, cfg.DetectInterval
	rc.Protocol.ReleaseTimeout = cfg.ReleaseTimeout.Milliseconds()
	if mode, err := resize.ParseMode(cfg.Mode); err == nil {
		rc.Protocol.Mode = mode
	}
	return rc
}

// Run finds queues and leads or stands by for each, until ctx ends; then it resigns. Call it once.
func (l *Leaders) Run(ctx context.Context) {
	var all, common sync.WaitGroup
	running := map[string]led{}
	l.share = &shared{watch: newWatch(l.Store, l.Rules.Detect), leases: l.Store.NewLeases(), feed: l.Store.NewFeed()}
	l.Rules.Rings, l.Rules.Began = func() int { return int(l.share.rings.Load()) }, time.Now()
	looks, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer common.Wait()
	defer stop() // after the last ring
	if l.share.watch != nil {
		common.Go(func() { l.share.watch.run(looks) })
	}
	if l.share.feed != nil {
		common.Go(func() { l.share.feed.Run(looks) })
	}
	if l.share.leases != nil {
		common.Go(func() { l.share.leases.Run(looks) })
	}
	ticker := time.NewTicker(max(100*time.Millisecond, l.Rules.Detect))
	defer ticker.Stop()
	told := false
	for {
		call, cancel := context.WithTimeout(ctx, 2*time.Second)
		queues, bad, err := l.Store.Queues(call)
		cancel()
		for _, b := range bad {
			if !told {
				l.Log.Error("queue left out", "error", b)
			}
		}
		told = len(bad) > 0
		if err == nil {
			l.reconcile(ctx, queues, running, &all)
			l.share.rings.Store(int64(len(running)))
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			for _, one := range running {
				one.stop()
			}
			all.Wait()
			return
		}
	}
}

// led is a queue that has a runner.
type led struct {
	q    streams.Queue
	stop func() // ends the runner and waits for it
}

func (l *Leaders) reconcile(ctx context.Context, queues []streams.Queue, running map[string]led, all *sync.WaitGroup) {
	there := map[string]streams.Queue{}
	for _, q := range queues {
		there[q.Name] = q
	}
	for name, one := range running {
		// A queue that was lost at the server may have been made again with other counts.
		if q, ok := there[name]; !ok || q.Partitions != one.q.Partitions || q.Shards != one.q.Shards {
			one.stop()
			delete(running, name)
		}
	}
	for _, q := range queues {
		if _, ok := running[q.Name]; ok {
			continue
		}
		log := l.Log.With("queue", q.Name)
		ring := NewRing(l.Store, q, l.Dispatcher, l.LeaseTTL, log)
		ring.share = l.share
		r, err := runner.New(l.Rules, ring, NewDetector(l.LeaseTTL), log)
		if err != nil {
			l.Log.Error("queue left out", "queue", q.Name, "error", err)
			continue
		}
		one, cancel := context.WithCancel(ctx)
		done := make(chan struct{})
		all.Go(func() {
			defer close(done)
			r.Run(one)
		})
		running[q.Name] = led{q: q, stop: func() { cancel(); <-done }}
	}
}
