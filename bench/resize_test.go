package bench

import (
	"log/slog"
	"testing"
	"time"

	"ringmaster/internal/redistest"
)

// Partitions move in every mode, and both kinds of pause are seen.
func TestResize(t *testing.T) {
	server := redistest.Real(t)
	o := DefaultResize()
	o.Partitions, o.Workers, o.Rate, o.Baseline, o.Window, o.Redis = 16, 2, 500, 500*time.Millisecond, time.Millisecond, server.URL()
	all, err := RunResize(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range all {
		if r.Mode != o.Modes[i] || r.Resizes < 2 || r.Moves < 10 || r.Moved <= 0 || r.Unmoved <= 0 || r.Baseline <= 0 || r.PlanToOpen < 0 || r.PlanToOpen > 1000 {
			t.Errorf("%+v", r)
		}
	}
	if len(all) != 3 || all[2].Mode != "key" {
		t.Errorf("the modes are %v", all)
	}
	nothingLeft(t, server)
}

func TestPausesAreGapsThatOverlapWithAResize(t *testing.T) {
	zero := time.UnixMilli(1_000_000)
	at := func(ms int) time.Time { return zero.Add(time.Duration(ms) * time.Millisecond) }
	s := &sightings{from: at(0), until: at(300), opened: map[opening]time.Time{}}
	for ms := 0; ms <= 1000; ms += 100 {
		s.ends = append(s.ends, end{0, at(ms)}, end{1, at(ms)})
		if ms != 500 { // partition 2 stands still from 400 to 600
			s.ends = append(s.ends, end{2, at(ms)})
		}
	}
	s.plans = []plan{{at(410), at(590)}, {at: at(700)}} // the end of the second was not seen
	log := slog.New(s)
	for _, o := range []struct {
		partition int
		epoch     uint64
		open      bool
	}{{2, 7, true}, {1, 3, false}} {
		log.Debug("gate", "partition", o.partition, "epoch", o.epoch, "open", o.open)
	}
	log.Info("ready")
	if len(s.opened) != 1 {
		t.Fatalf("opened: %v", s.opened)
	}
	s.opened[opening{2, 7}] = at(420)
	got := s.figures()
	want := Resized{Moved: 200, Unmoved: 100, Baseline: 100, PlanToOpen: 10, Resizes: 1, Moves: 1}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}
