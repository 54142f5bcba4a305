package bench

import (
	"testing"
	"time"

	"ringmaster/internal/redistest"
)

func TestQuantile(t *testing.T) {
	v := []float64{5, 1, 4, 2, 3}
	for q, want := range map[float64]float64{0: 1, 0.2: 1, 0.5: 3, 0.99: 5, 1: 5} {
		if got := quantile(v, q); got != want {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	if got := median(nil); got != 0 {
		t.Errorf("the median of nothing is %v", got)
	}
}

// All jobs pass through every contender, and nothing of them is left at the server.
func TestThroughput(t *testing.T) {
	server := redistest.Real(t)
	o := DefaultThroughput()
	o.Jobs, o.Rounds, o.Limit, o.Redis = 30_000, 1, time.Millisecond, server.URL()
	unkeyed, keyed, err := RunThroughput(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []Moved{unkeyed, keyed} {
		if m.Jobs != o.Jobs || m.Rate <= 0 || m.RawRate <= 0 || m.RawTrimRate <= 0 || m.Server <= 0 || m.RawServer <= 0 || m.Client <= 0 || m.RawClient <= 0 {
			t.Errorf("%+v", m)
		}
	}
	nothingLeft(t, server)
}

// nothingLeft fails if a run left something at the server that it was given.
func nothingLeft(t *testing.T, server *redistest.Server) {
	t.Helper()
	c := server.Client()
	defer func() { _ = c.Close() }()
	if left := c.Keys(t.Context(), "*").Val(); len(left) > 0 {
		t.Errorf("left at the server: %v", left)
	}
}
