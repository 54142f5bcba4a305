package behaviour

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"ringmaster/consumergroup"
	"ringmaster/internal/faultproxy"
	"ringmaster/internal/redistest"
	"ringmaster/job"
	"ringmaster/streams"
)

// Connections are reset and the workers behind them go on: nobody is evicted, no job starts
// twice, none counts a crash. Two of four workers share a path with a delay of its own, so
// that a reset of the path looks like two deaths at once.
func TestResetConnectionsEvictNobody(t *testing.T) {
	for _, delay := range []time.Duration{0, 10 * time.Millisecond, 40 * time.Millisecond, 100 * time.Millisecond} {
		for _, what := range []string{"subscriptions", "path", "path for 300 ms"} {
			if what == "path for 300 ms" && delay%(40*time.Millisecond) != 0 {
				continue // to save time
			}
			t.Run(fmt.Sprintf("%s, %v each way", what, delay), func(t *testing.T) {
				t.Parallel()
				for try := 1; ; try++ {
					wrong, stalled := resetLine(t, what, delay)
					if len(wrong) == 0 {
						return
					}
					if stalled < tooSlow || try == 3 {
						t.Fatalf("%s; this process stood still for %v", strings.Join(wrong, "\n"), stalled)
					}
					t.Logf("once more, since this process, and all workers in it, stood still for %v: %s", stalled, wrong)
				}
			})
		}
	}
}

// tooSlow is a pause of the whole process in which workers that live give no sign of it: what is
// thought of them then is right.
const tooSlow = 200 * time.Millisecond

// resetLine resets connections of a line three times. It returns what somebody noticed of it, and
// the longest time for which the process of this test, and so each worker, stood still.
func resetLine(t *testing.T, what string, delay time.Duration) (wrong []string, stalled time.Duration) {
	t.Helper()
	l := newLine(t, redistest.Real(t).URL(), delay)
	longest := stalls()
	for i := range 3 {
		wait := time.Duration(1200-300*i) * time.Millisecond // at other moments between two heartbeats
		select {
		case <-time.After(wait):
		case <-l.ctx.Done():
			t.Fatal("too slow")
		}
		switch what {
		case "subscriptions":
			if n, err := l.raw.Do(l.ctx, "CLIENT", "KILL", "TYPE", "pubsub").Int(); err != nil || n == 0 {
				t.Fatalf("%d killed, %v", n, err)
			}
		case "path":
			l.pipe.Mend()
		default:
			l.pipe.Cut()
			time.AfterFunc(300*time.Millisecond, l.pipe.Mend)
		}
	}
	time.AfterFunc(1500*time.Millisecond, l.end)
	<-l.over
	wrong = l.touched()
	return wrong, longest()
}

// stalls looks how long this process stands still, until the function it returns is called.
func stalls() func() time.Duration {
	stop, worst := make(chan struct{}), make(chan time.Duration)
	go func() {
		const step = 10 * time.Millisecond
		tick, last, longest := time.NewTicker(step), time.Now(), time.Duration(0)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				longest, last = max(longest, time.Since(last)-step), time.Now()
			case <-stop:
				worst <- longest
				return
			}
		}
	}()
	return func() time.Duration {
		close(stop)
		return <-worst
	}
}

// line is four workers in a ring, two of them behind a pipe, each with a job that runs until end.
type line struct {
	*rig
	pipe  *faultproxy.Pipe
	runs  *runs
	incs  []string
	names []string
	over  chan struct{}
	end   func()
}

func newLine(t *testing.T, url string, delay time.Duration) *line {
	t.Helper()
	pipe, err := faultproxy.NewPipe(t.Context(), "127.0.0.1:0", url[len("redis://"):])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pipe.Close)
	pipe.Delay(delay)
	l := &line{rig: newRig(t, url, streams.Queue{Partitions: 8, Journal: true}), pipe: pipe, runs: &runs{}, over: make(chan struct{})}
	l.end = func() { close(l.over) }
	l.lead()
	started := make(chan string, 100)
	long := func(ctx context.Context, _ job.Delivery, _ int) (json.RawMessage, error) {
		started <- ""
		select {
		case <-l.over:
			return nil, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	for i := range 4 {
		s := spec{name: fmt.Sprint("w", i), tune: func(c *consumergroup.Config) {
			c.Heartbeat, c.LeaseTTL = 500*time.Millisecond, 3*time.Second // as they are by default
		}}
		if s.t = l.runs.by(s.name, long); i < 2 {
			s.url = pipe.URL()
		}
		p := l.start(s)
		l.names = append(l.names, s.name)
		l.incs = append(l.incs, receive(l.rig, p.ready, s.name))
	}
	l.settled(l.names...)
	for p := range l.queue.Partitions {
		l.send(l.keysOf(p, 1)[0], 1)
		receive(l.rig, started, "a run")
	}
	return l
}

// touched waits until all jobs are done and tells what somebody noticed.
func (l *line) touched() (wrong []string) {
	l.t.Helper()
	note := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	l.until("all jobs done", func() bool { return l.runs.done() >= l.queue.Partitions })
	if got := len(l.runs.list()); got != l.queue.Partitions {
		note("%d jobs were started %d times", l.queue.Partitions, got)
	}
	members := l.raw.HKeys(l.ctx, l.key("members")).Val()
	slices.Sort(members)
	slices.Sort(l.incs)
	if !slices.Equal(members, l.incs) {
		note("members %v became %v", l.incs, members)
	}
	for p := range l.queue.Partitions {
		if records := l.raw.HGetAll(l.ctx, l.key(fmt.Sprint("retry:", p))).Val(); len(records) > 0 {
			note("partition %d: crashes were counted: %v", p, records)
		}
	}
	return wrong
}
