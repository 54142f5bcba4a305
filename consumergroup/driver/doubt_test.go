package consumergroup

import (
	"context"
	"testing"
	"time"

	"ringmaster/job"
	"ringmaster/resize"
)

// dropFenced drops the tenures that the reader was told are over, as the participant has it done.
func (b *bench) dropFenced() int {
	n := 0
	for _, ev := range b.s.events {
		if f, is := ev.(resize.PartitionFenced); is {
			b.s.drop(resize.DropPartition{Part: f.Part, Epoch: f.Epoch, Cancel: true})
			n++
		}
	}
	b.s.events = nil
	return n
}

// A read was not answered. Whoever answers the next one may have given all tenures other epochs.
func TestNothingStartsUntilTheRecordsAreRead(t *testing.T) {
	b := newBench(t, nil)
	b.arrive(entry(1, "k"), entry(2, ""))
	b.fake.onRead = func([]int) (job.ReadBatch, error) { return job.ReadBatch{}, job.ErrOutcomeUnknown }
	if err := b.s.turn(t.Context()); err != nil || !b.s.unsure {
		t.Fatalf("in doubt: %v, %v", b.s.unsure, err)
	}
	b.arrive(entry(3, ""))
	b.mustNotStart()
	if err := b.s.turn(t.Context()); err != nil || b.s.unsure {
		t.Fatalf("in doubt: %v, %v", b.s.unsure, err)
	}
	for n := range 3 {
		b.mustStart(n + 1)
	}
}

// Another server answers, with an older state under higher numbers: job 1, which had ended, is
// pending again, and job 2 is there as it was. Both start once, in the tenure that follows.
func TestWhatIsPendingOfAnOldTenureIsLeftToTheNext(t *testing.T) {
	b := newBench(t, nil)
	b.arrive(entry(1, ""))
	b.complete(b.mustStart(1))
	b.arrive(entry(2, ""))
	b.fake.history, b.fake.epoch = []job.Entry{entry(1, ""), entry(2, "")}, 1001
	b.s.doubt()
	if err := b.s.reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.mustNotStart()
	if b.fake.asked > 0 {
		t.Error("the pending list was taken into the tenure that is over")
	}
	if n := b.dropFenced(); n != 1 {
		t.Fatalf("%d tenures are told to be over, want one", n)
	}
	b.s.lanes.Claim(0, 1001, true)
	b.s.lanes.Claimed(0, 1001, &job.ClaimPage{Cursor: "0-0", Entries: b.fake.history}, time.Now())
	b.s.setGate(0, 1001, true)
	b.s.startOpened()
	for n := range 2 {
		if it := b.mustStart(n + 1); it.Fence != job.NewFence(0, 1001) {
			t.Errorf("job %d has fence %d, of an old epoch", n+1, it.Fence)
		}
	}
	b.mustNotStart()
}

// The server before hangs and another has taken its place: the reader's call is not answered
// yet, and the heartbeat of another connection is.
func TestAHeartbeatOfANewGenerationStopsAllStarts(t *testing.T) {
	b := newBench(t, nil)
	b.arrive(entry(1, ""), entry(2, ""))
	for _, epoch := range []uint64{5, 6, 900} {
		b.s.beaten(job.Beat{RingEpoch: epoch})
	}
	b.mustStart(1)
	b.s.beaten(job.Beat{RingEpoch: 1900})
	b.mustNotStart()
	b.s.snapshotEvents(job.Snapshot{Beat: job.Beat{RingEpoch: 1900}, Owned: []job.OwnedPartition{{Partition: 0, Epoch: 1001}}})
	b.mustNotStart()
	b.s.snapshotEvents(job.Snapshot{Beat: job.Beat{RingEpoch: 1900}, Owned: []job.OwnedPartition{{Partition: 0, Epoch: 1}}})
	b.mustStart(2)
	b.s.beaten(job.Beat{RingEpoch: 1900})
	b.arrive(entry(3, ""))
	b.mustStart(3)
}

// A plan brings a shard to the epoch of another that had a new generation. The participant knows of it when
// the heartbeat tells: it asks for no records.
func TestAHeartbeatThatTellsNoNewsStopsNobodyForLong(t *testing.T) {
	b := newBench(t, nil)
	b.s.beaten(job.Beat{RingEpoch: 5})
	b.arrive(entry(1, ""))
	b.s.beaten(job.Beat{RingEpoch: 2005})
	b.mustNotStart()
	b.s.events = nil // as of a participant that knows
	if err := b.s.turn(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.mustStart(1)
}

// evicting answers a look at the records as to an incarnation that is no member.
type evicting struct{ *fakeServer }

func (evicting) Snapshot(context.Context) (job.Snapshot, error) {
	return job.Snapshot{Beat: job.Beat{Fenced: true}}, nil
}

func TestAnEvictedIncarnationStartsNothingMore(t *testing.T) {
	b := newBench(t, nil)
	b.arrive(entry(1, ""))
	b.s.reader = evicting{b.fake}
	b.s.doubt()
	if err := b.s.reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.mustNotStart()
	if n := len(b.s.events); n != 1 {
		t.Errorf("%d events, want one that it is evicted", n)
	}
}

// The first connection is none that failed: a worker that joins asks for as much as one that works.
func TestTheFirstConnectionIsNoFailure(t *testing.T) {
	b := newBench(t, func(c *Config) { c.ReadBytes, c.HeldBytes = 4<<20, 64<<20 })
	before := b.s.lanes.Claims()
	if err := b.s.reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := b.s.lanes.Claims(); n != before {
		t.Errorf("%d claims at a time, before it was connected %d", n, before)
	}
	b.s.doubt()
	if err := b.s.reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := b.s.lanes.Claims(); n >= before {
		t.Errorf("%d claims at a time after a call without an answer, before it %d", n, before)
	}
}
