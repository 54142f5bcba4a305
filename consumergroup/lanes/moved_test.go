package lanes

import (
	"slices"
	"testing"
	"time"

	"ringmaster/job"
	"ringmaster/resize"
)

// release names what runs and drops the partition, with between in between.
func (b *bench) release(between func()) {
	b.ten.gate = false
	b.s.Naming(0, 1)
	between()
	b.s.Drop(0, 1, false, b.now)
}

// TestAPermitNobodyWillUseIsGivenBack: an attempt fails while its partition is handed
// over. The store took the failure first, so the entry is still pending, and the release
// named it as running: it is under a permit, and its key waits at the new owner.
func TestAPermitNobodyWillUseIsGivenBack(t *testing.T) {
	t.Run("answer before the drop", func(t *testing.T) {
		b := newBench(t, nil)
		b.arrive(entry(1, "k"), entry(2, "k"))
		b.fail(b.mustStart(1))
		b.release(func() { b.answer(job.ByOwner) })
		b.expectHandBack()
	})
	t.Run("answer after the drop", func(t *testing.T) {
		b := newBench(t, nil)
		b.arrive(entry(1, "k"), entry(2, "k"))
		b.fail(b.mustStart(1))
		b.release(func() {})
		if got := ids(b.answer(job.ByOwner)); got != "F1" {
			t.Fatalf("sent %q", got)
		}
		b.expectHandBack()
	})
	t.Run("not started after all, after the drop", func(t *testing.T) {
		b := newBench(t, nil)
		suspect := entry(1, "k")
		suspect.Retry = "apart"
		b.arrive(suspect)
		it := b.mustStart(1)
		b.release(func() {})
		b.p.PutBack(it, b.now)
		b.expectHandBack()
	})
	t.Run("not for what was not named", func(t *testing.T) {
		b := newBench(t, nil)
		b.arrive(entry(1, "k"), entry(2, "k"))
		b.fail(b.mustStart(1))
		b.answer(job.ByOwner)
		b.release(func() {})
		b.expectNothingLeft()
	})
	t.Run("not for what the new owner took", func(t *testing.T) {
		b := newBench(t, nil)
		b.arrive(entry(1, "k"))
		b.fail(b.mustStart(1))
		b.release(func() {})
		b.answer(job.ByDrainer)
		b.expectNothingLeft()
	})
}

func (b *bench) expectHandBack() {
	b.t.Helper()
	if got := ids(b.answer(job.ByDrainer)); got != "B1" {
		b.t.Fatalf("sent %q, want the job handed back", got)
	}
	b.expectNothingLeft()
}

func (b *bench) expectNothingLeft() {
	b.t.Helper()
	if len(b.ends) != 0 || len(b.ten.items) != 0 || b.p.runs != 0 || b.p.bytes != 0 || len(b.s.closing) != 0 || len(b.s.started) != 0 {
		b.t.Fatalf("left behind: ends %s, %d items, %d runs, %d bytes, %d closing, %d started",
			ids(b.ends), len(b.ten.items), b.p.runs, b.p.bytes, len(b.s.closing), len(b.s.started))
	}
}

// Partitions that are dropped with open gates leave nothing open either: a barrier may wait
// for the worker to say so, once what ran has ended.
func TestTheLastGateClosesWithItsPartition(t *testing.T) {
	told := func(b *bench) bool {
		return slices.ContainsFunc(b.events, func(ev resize.ParticipantEvent) bool { _, is := ev.(resize.RunsEnded); return is })
	}
	for _, lost := range []bool{true, false} {
		b := newBench(t, nil)
		b.arrive(entry(1, "k"))
		it := b.mustStart(1)
		b.s.Drop(0, 1, lost, b.now)
		if told(b) {
			t.Fatal("told while a job runs")
		}
		b.s.Confirm(nil, b.now)
		b.finish(it)
		b.answer(job.Refused)
		if !told(b) {
			t.Fatalf("not told that nothing runs (lost: %v)", lost)
		}
	}
	b := newBench(t, nil)
	b.s.Drop(0, 1, true, b.now)
	if !told(b) {
		t.Fatal("not told where nothing ran")
	}
}

// A job that waits for its backoff has one alarm, however often its gate opens, which keeps nothing
// large of it once its partition has gone.
func TestAnAlarmKeepsNoPayload(t *testing.T) {
	b := newBench(t, nil)
	b.arrive(waitingEntry(1, "k"), waitingEntry(2, ""))
	for range 3 {
		b.s.SetGate(0, 1, false, b.now)
		b.s.SetGate(0, 1, true, b.now)
		b.s.StartOpened(b.now)
	}
	if n := len(b.p.alarms); n != 2 {
		t.Errorf("%d alarms for two jobs", n)
	}
	b.s.Drop(0, 1, false, b.now)
	for _, a := range b.p.alarms {
		if a.item.Entry.Payload != nil {
			t.Error("the payload of a job that is another's is kept for as long as its backoff")
		}
	}
	b.now = b.now.Add(2 * time.Hour)
	b.p.Ring(b.now)
	b.mustNotStart()
}
