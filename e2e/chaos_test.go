package e2e

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestChaosKills kills workers and leading dispatchers in turn, under load, and replaces
// them: every job completes once and in key order, and what a killed worker ran is run
// again within a fraction of a second.
func TestChaosKills(t *testing.T) {
	r := newRing(t, 64)
	for range 2 {
		r.dispatcher()
	}
	for range 3 {
		r.worker()
	}
	r.settled(3)
	l := r.startLoad(200, 600, upTo(40))
	var again, leaders []time.Duration
	for n := range *chaosKills {
		r.until("traffic", 10*time.Second, func() bool { return l.count() > 50*(n+1) })
		<-time.After(time.Duration(rand.IntN(300)) * time.Millisecond)
		if n%2 == 0 {
			again = append(again, r.killWorker()...)
		} else {
			leaders = append(leaders, r.killLeader())
		}
		r.settled(3)
	}
	r.audit(l, 60*time.Second)
	slices.Sort(again)
	slices.Sort(leaders)
	if len(again) > 0 {
		t.Logf("worker kills: %d held jobs ran again after p50 %v, max %v", len(again), again[len(again)/2], again[len(again)-1])
		if p50 := again[len(again)/2]; p50 > 300*time.Millisecond {
			t.Errorf("a killed worker's jobs ran again after %v (median): more than 300 ms", p50)
		}
	} else {
		t.Error("no killed worker held a job: the test shows nothing")
	}
	if len(leaders) > 0 {
		t.Logf("leader kills: the next one led after p50 %v, max %v", leaders[len(leaders)/2], leaders[len(leaders)-1])
		if worst := leaders[len(leaders)-1]; worst > 3*time.Second {
			t.Errorf("a leader was replaced after %v: more than 3 s", worst)
		}
	}
}

// alive are the processes of a kind that were not ended.
func (r *ring) alive(kind string) []*process {
	var out []*process
	for _, p := range r.procs {
		select {
		case <-p.exited:
		default:
			if p.Kind == kind {
				out = append(out, p)
			}
		}
	}
	return out
}

// killWorker kills one that runs jobs, starts another, and returns how long each of the
// jobs it ran waited to be run again.
func (r *ring) killWorker() []time.Duration {
	r.t.Helper()
	ws := r.alive("worker")
	victim := ws[rand.IntN(len(ws))]
	r.until("the victim runs a job", 10*time.Second, func() bool { return len(held(readLedger(r.t, victim.Ledger))) > 0 })
	at := time.Now()
	victim.kill()
	open := held(readLedger(r.t, victim.Ledger))
	r.worker()
	var out []time.Duration
	r.until(fmt.Sprintf("%d jobs of %s ran again", len(open), victim.Name), 20*time.Second, func() bool {
		out = out[:0]
		for _, p := range r.procs {
			if p == victim || p.Kind != "worker" {
				continue
			}
			for _, x := range readLedger(r.t, p.Ledger) {
				if x.what == "start" && open[x.id] && x.at.After(at) {
					out = append(out, x.at.Sub(at))
				}
			}
		}
		return len(out) >= len(open)-r.completedBefore(open)
	})
	return out
}

// completedBefore counts jobs whose end was recorded by the server though the victim's
// ledger says that they ran: killed between the handler's end and the answer.
func (r *ring) completedBefore(open map[string]bool) int {
	byKey, _ := r.commits()
	n := 0
	for _, ids := range byKey {
		for _, id := range ids {
			if open[id] && !r.ranElsewhere(id) {
				n++
			}
		}
	}
	return n
}

func (r *ring) ranElsewhere(id string) bool {
	n := 0
	for _, p := range r.procs {
		for _, x := range readLedger(r.t, p.Ledger) {
			if x.what == "start" && x.id == id {
				n++
			}
		}
	}
	return n > 1
}

// leader is the process that leads the ring.
func (r *ring) leader() *process {
	r.t.Helper()
	var found *process
	r.until("a living leader", 10*time.Second, func() bool {
		id := r.view().Leader
		for _, p := range r.alive("dispatcher") {
			if id != "" && strings.Contains(id, fmt.Sprintf("-%d.", p.cmd.Process.Pid)) {
				found = p
				return true
			}
		}
		return false
	})
	return found
}

// killLeader kills the leading dispatcher while a worker joins, and returns how long it
// took until another led.
func (r *ring) killLeader() time.Duration {
	r.t.Helper()
	victim := r.leader()
	epoch := r.view().Epoch
	extra := r.worker()
	r.until("a resize begins", 10*time.Second, func() bool { return r.view().Epoch > epoch })
	at := time.Now()
	victim.kill()
	r.dispatcher()
	r.leader()
	took := time.Since(at)
	r.settled(4)
	extra.stop(r.t)
	return took
}
