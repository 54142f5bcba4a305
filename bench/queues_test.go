package bench

import (
	"testing"
	"time"
)

// Processes serve queues at rest, and what that costs is told of each kind.
func TestQueuesAtRest(t *testing.T) {
	o := DefaultQueues()
	o.Numbers, o.Workers, o.Rest = []int{2}, 2, 500*time.Millisecond
	all, err := RunQueues(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if r := all[0]; len(all) != 1 || r.Settled <= 0 || r.Commands < 40 || r.Connections < 4+2 || r.RedisMB <= 0 || r.Changes != 0 {
		t.Errorf("%+v", all)
	}
}
