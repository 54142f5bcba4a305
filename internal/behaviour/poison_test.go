package behaviour

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"ringmaster/consumergroup"
	"ringmaster/internal/redistest"
	"ringmaster/job"
	"ringmaster/streams"
)

// beside are the runs in x's worker that overlap x.
func (rs *runs) beside(x run) []run {
	var out []run
	for _, y := range rs.list() {
		if y.worker == x.worker && y.began != x.began && y.began < x.end && (y.end == 0 || y.end > x.began) {
			out = append(out, y)
		}
	}
	return out
}

func TestAJobThatKillsItsWorkersIsFoundAndItsNeighboursAreSpared(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, url, _ string) {
		t.Parallel()
		r, rs := newRig(t, url, streams.Queue{Partitions: 1, Journal: true}), &runs{}
		r.lead()
		procs := map[string]*proc{}
		for i := range 5 {
			name := fmt.Sprint("w", i)
			procs[name] = r.start(spec{name: name, t: rs.by(name, nil), h: map[string]consumergroup.Handler{
				"poison": rs.by(name, func(ctx context.Context, _ job.Delivery, _ int) (json.RawMessage, error) {
					procs[name].kill()
					<-ctx.Done()
					return nil, context.Cause(ctx)
				}),
				"slow": rs.by(name, func(ctx context.Context, _ job.Delivery, _ int) (json.RawMessage, error) {
					select {
					case <-ctx.Done():
						return nil, context.Cause(ctx)
					case <-time.After(30 * time.Millisecond):
						return nil, nil
					}
				}),
			}})
			receive(r, procs[name].ready, "worker "+name)
		}
		var good []job.Job
		for i := range 12 {
			good = append(good, job.Job{Type: "slow", Key: fmt.Sprint("n", i%6), Payload: json.RawMessage(fmt.Sprintf(`{"N":%d}`, i))})
		}
		good = append(good, job.Job{Type: "t", Key: "bad", Payload: json.RawMessage(`{"N":1}`)})
		bad := r.sendJobs(append([]job.Job{good[0], {Type: "poison", Key: "bad"}}, good[1:]...)...)
		id := bad[1]
		neighbours := append(bad[:1:1], bad[2:]...)
		r.until("the poison is dead", func() bool { return len(r.dead()) == 1 })
		r.until("its neighbours are done", func() bool { return rs.done() == len(good) })
		r.until("nothing pending", func() bool { return r.pending(0) == 0 })
		d := r.dead()
		if len(d) != 1 || d[0].ID != id || d[0].Crashes != 4 || !strings.Contains(d[0].Error, "crashed its worker") {
			t.Errorf("dead letters %+v", d)
		}
		var runs []run
		for _, x := range rs.list() {
			if x.d.Type == "poison" {
				runs = append(runs, x)
			}
		}
		if len(runs) != 4 {
			t.Fatalf("the poison was started %d times", len(runs))
		}
		if others := rs.beside(runs[3]); len(others) != 0 {
			t.Errorf("it did not run alone at last: beside it ran %v", others[0].d.ID)
		}
		r.endedOnce(neighbours, []string{id})
	})
}
