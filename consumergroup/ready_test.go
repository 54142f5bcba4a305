package consumergroup

import (
	"testing"
	"time"

	"ringmaster/job"
)

func TestReadyMeansThatAWorkerOwnsWhatItShould(t *testing.T) {
	const soon, late = 10 * time.Millisecond, 3 * time.Second
	for name, tt := range map[string]struct {
		stand  job.Stand
		owned  int
		waited time.Duration
		why    string
	}{
		"no dispatcher":                 {job.Stand{}, 0, late, "no dispatcher leads the ring of this queue: start one"},
		"just joined":                   {job.Stand{Leader: "d.1"}, 0, soon, "dispatcher d.1 has not planned yet"},
		"the plan is carried out":       {job.Stand{Leader: "d.1", Phase: 1, Moves: 3}, 2, late, "a resize is under way: 3 partitions have still to move"},
		"so it is without a dispatcher": {job.Stand{Phase: 1, Moves: 3}, 2, late, "a resize is under way: 3 partitions have still to move"},
		"all is there":                  {job.Stand{Leader: "d.1", Planned: 5}, 5, soon, ""},
		"not all is there":              {job.Stand{Leader: "d.1", Planned: 5}, 3, late, "the plan gives it 5 partitions, and it has taken up 3"},
		"and the dispatcher gone":       {job.Stand{Planned: 5}, 5, soon, ""},
		"not to have any":               {job.Stand{Leader: "d.1"}, 0, late, ""},
	} {
		if why := notReady(tt.stand, tt.owned, tt.waited); why != tt.why {
			t.Errorf("%s: %q, want %q", name, why, tt.why)
		}
	}
}
