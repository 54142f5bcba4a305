package behaviour

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"ringmaster/consumergroup"
	"ringmaster/internal/redistest"
	"ringmaster/streams"
)

// calls are the commands that the server has executed since the last CONFIG RESETSTAT.
func (r *rig) calls() map[string]int {
	out := map[string]int{}
	for line := range strings.Lines(r.raw.Info(r.ctx, "commandstats").Val()) {
		name, stats, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "cmdstat_"), ":calls=")
		n, _, _ := strings.Cut(stats, ",")
		out[name], _ = strconv.Atoi(n)
	}
	return out
}

// Twenty queues at rest: their members are looked for in one call, their leases are renewed by two
// commands each, and their records are left alone. When a worker of one of them is killed, that is
// seen as fast as if it were the only one.
func TestQueuesAtRestCostLittle(t *testing.T) {
	const queues = 20
	r := newRig(t, redistest.Real(t).URL(), streams.Queue{Name: "q0", Partitions: 4})
	r.lead()
	var last *proc
	for i := range queues {
		r.queue = streams.Queue{Name: fmt.Sprintf("q%d", i), Partitions: 4}
		for _, name := range []string{"a", "b"} {
			last = r.start(spec{name: name, tune: func(c *consumergroup.Config) { c.Concurrency = 1 }})
		}
	}
	r.until("all of them at rest", func() bool {
		for i := range queues {
			st, err := r.store.Inspect().RingView(r.ctx, fmt.Sprintf("q%d", i))
			if err != nil || st.Phase != 0 || len(st.Members) != 2 {
				return false
			}
			owned := map[string]int{}
			for _, p := range st.Partitions {
				owned[p.Owner]++
			}
			if len(owned) != 2 || owned["-"] > 0 {
				return false
			}
		}
		return true
	})
	for try := 1; ; try++ {
		r.raw.ConfigResetStat(r.ctx)
		r.until("a second of looks for connections", func() bool { return r.calls()["pubsub|numsub"] >= 33 })
		n := r.calls()
		// In that second: 20 looks for queues, ten at records (some 20 commands each); 2 renewals of leases
		// for each ring, some 2 for each worker.
		if n["look"] == 0 && n["evalsha"] < 90 && n["pubsub|numsub"] < 60 && n["xack"] == 0 && n["pexpire"] < 40+2*queues*3 {
			break
		}
		if try == 20 {
			t.Fatalf("in about a second: %v", n)
		}
	}
	last.kill()
	r.until("the eviction of the killed", func() bool {
		for _, e := range r.raw.XRange(r.ctx, r.key("control"), "-", "+").Val() {
			if e.Values["type"] == "evict" {
				if data := e.Values["data"]; data != `{"evidence":"connection"}` {
					t.Fatalf("evicted by %v", data)
				}
				return true
			}
		}
		return false
	})
}
