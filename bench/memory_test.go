package bench

import (
	"testing"

	"ringmaster/internal/redistest"
)

// A worker holds its prefetch of a long queue; ended jobs leave nothing, one that is stuck
// beside them or not.
func TestMemory(t *testing.T) {
	server := redistest.Real(t)
	o := DefaultMemory()
	o.Waiting, o.Jobs, o.Passing, o.Redis = 20_000, 60_000, 20_000, server.URL()
	k, err := RunMemory(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if k.Held < 16 || k.Held > k.Prefetch {
		t.Errorf("of %d waiting jobs the worker holds %d, with a prefetch of %d", k.Waiting, k.Held, k.Prefetch)
	}
	if k.AfterMB > k.BaseMB+1 {
		t.Errorf("the server's memory was %v MB and is %v MB after %d jobs", k.BaseMB, k.AfterMB, k.Jobs)
	}
	if k.Entries < 1 || k.Entries > 1000 || k.StuckMB > 1 {
		t.Errorf("%d entries and %v MB while one of %d jobs is stuck", k.Entries, k.StuckMB, k.Passed)
	}
	nothingLeft(t, server)
}
