package bench

import (
	"testing"
	"time"

	"ringmaster/internal/redistest"
)

// Every job of both contenders is started and timed, on a server that is used again.
func TestLatency(t *testing.T) {
	server := redistest.Real(t)
	o := DefaultLatency()
	o.Rounds, o.Window, o.Limit, o.Redis = 2, 400*time.Millisecond, time.Millisecond, server.URL()
	d, err := RunLatency(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if d.Rate != 1000 || d.P50 <= 0 || d.P99 < d.P50 || d.Max < d.P99 || d.RawP50 <= 0 || d.RawP99 < d.RawP50 {
		t.Errorf("%+v", d)
	}
	nothingLeft(t, server)
}

// A delay is from start to stop, and a job that was not started is no delay of zero.
func TestStopwatch(t *testing.T) {
	w := newStopwatch(2)
	w.start(0)
	w.start(1)
	w.stop(w.label(1))
	if d, err := w.delays(1); err != nil || len(d) != 1 || d[0] <= 0 {
		t.Errorf("%v, %v", d, err)
	}
	if d, err := w.delays(0); err == nil {
		t.Errorf("job 0 was never started, and took %v ms", d[0])
	}
	if len(w.label(7)) != payloadBytes {
		t.Errorf("a payload of %d bytes", len(w.label(7)))
	}
}
