package driver

import (
	"testing"

	"ringmaster/job"
	"ringmaster/resize"
)

// resting brings the bench's participant to rest, as one that owns nothing and has seen the ring.
func (b *bench) resting(t *testing.T, beat job.Beat) {
	t.Helper()
	state := ringState(beat)
	if err := b.d.step(t.Context(), resize.Joined{Incarnation: "w.1", RingState: state}, resize.BeatAnswered{RingState: state}); err != nil {
		t.Fatal(err)
	}
	if !b.d.resting {
		t.Fatal("it does not rest")
	}
}

// A worker at rest is not woken by a heartbeat that brings nothing; by all others it is.
func TestAHeartbeatThatBringsNothingWakesNobody(t *testing.T) {
	known := job.Beat{RingEpoch: 4, Mode: "key", Change: 2}
	for name, tt := range map[string]struct {
		stir  func(b *bench)
		beat  job.Beat
		wakes bool
	}{
		"the same":               {func(*bench) {}, known, false},
		"by another mode":        {func(*bench) {}, job.Beat{RingEpoch: 4, Mode: "ring", Change: 2}, false},
		"another change number":  {func(*bench) {}, job.Beat{RingEpoch: 4, Mode: "key", Change: 3}, true},
		"one that says less":     {func(*bench) {}, job.Beat{RingEpoch: 3, Mode: "key", Change: 2}, true},
		"a plan":                 {func(*bench) {}, job.Beat{RingEpoch: 5, Mode: "key", Change: 2}, true},
		"a barrier":              {func(*bench) {}, job.Beat{RingEpoch: 4, Phase: 2, Mode: "ring", Change: 2}, true},
		"something waits":        {func(b *bench) { b.d.Tell(resize.RunsEnded{}) }, known, true},
		"a call is not answered": {func(b *bench) { b.d.doubt() }, known, true},
		"a heartbeat stopped it": {func(b *bench) { b.d.look = true }, known, true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.resting(t, known)
			tt.stir(b)
			waiting := len(b.d.events)
			b.d.Beaten(tt.beat)
			if woken := len(b.d.events) > waiting; woken != tt.wakes {
				t.Errorf("woken: %v", woken)
			}
		})
	}
}
