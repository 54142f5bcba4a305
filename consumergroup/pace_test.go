package consumergroup

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"ringmaster/job"
	"ringmaster/resize"
)

// resting brings the bench's participant to rest, as one that owns nothing and has seen the ring.
func (b *bench) resting(t *testing.T, beat job.Beat) {
	t.Helper()
	state := ringState(beat)
	if err := b.s.step(t.Context(), resize.Joined{Incarnation: "w.1", RingState: state}, resize.BeatAnswered{RingState: state}); err != nil {
		t.Fatal(err)
	}
	if !b.s.resting {
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
		"something waits":        {func(b *bench) { b.s.Tell(resize.RunsEnded{}) }, known, true},
		"a call is not answered": {func(b *bench) { b.s.doubt() }, known, true},
		"a heartbeat stopped it": {func(b *bench) { b.s.look = true }, known, true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			b.resting(t, known)
			tt.stir(b)
			waiting := len(b.s.events)
			b.s.beaten(tt.beat)
			if woken := len(b.s.events) > waiting; woken != tt.wakes {
				t.Errorf("woken: %v", woken)
			}
		})
	}
}

// Sessions of a process that rest beat together, a third of a lease apart; what stirs brings back
// the set pace, and who asks for a heartbeat has a whole one at once.
func TestThePaceOfHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(c *Config) { c.PID = 4711 })
		n := b.s.session
		n.soon, n.stirred = make(chan struct{}, 1), make(chan struct{}, 1)
		b.resting(t, job.Beat{})
		due := func() (time.Duration, bool) {
			began := time.Now()
			rested := n.untilDue(context.Background(), began)
			return time.Since(began), rested
		}
		due()
		for range 3 {
			if took, rested := due(); took != time.Second || !rested {
				t.Errorf("at rest: after %v, rested %v", took, rested)
			}
		}
		if d := b.w.cfg.together(time.Now()); d != time.Second {
			t.Errorf("another session of the process beats %v later", d)
		}
		time.AfterFunc(100*time.Millisecond, func() { b.s.post(resize.RunsEnded{}); n.stirred <- struct{}{} })
		if took, rested := due(); took != b.w.cfg.Heartbeat || rested {
			t.Errorf("stirred: after %v, rested %v", took, rested)
		}
		b.s.events = nil
		time.AfterFunc(100*time.Millisecond, n.beatSoon)
		if took, rested := due(); took != 100*time.Millisecond || rested {
			t.Errorf("asked for: after %v, rested %v", took, rested)
		}
	})
}

// A reader that nobody wakes hears of the server within a lease, however short that is: else it would
// be taken for deaf.
func TestAReadAtRestIsShorterThanALease(t *testing.T) {
	for lease, want := range map[time.Duration]time.Duration{300 * time.Millisecond: 150 * time.Millisecond, 3 * time.Second: 1500 * time.Millisecond, time.Minute: 1500 * time.Millisecond} {
		b := newBench(t, func(c *Config) { c.LeaseTTL, c.Heartbeat = lease, lease/3 })
		b.resting(t, job.Beat{})
		if _, _, block := b.s.toRead(); block != want {
			t.Errorf("lease of %v: a read of %v, want %v", lease, block, want)
		}
	}
}
