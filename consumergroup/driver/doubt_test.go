package driver

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
	for _, ev := range b.d.events {
		if f, is := ev.(resize.PartitionFenced); is {
			b.d.drop(resize.DropPartition{Part: f.Part, Epoch: f.Epoch, Cancel: true})
			n++
		}
	}
	b.d.events = nil
	return n
}

// A read was not answered. Whoever answers the next one may have given all tenures other epochs.
func TestNothingStartsUntilTheRecordsAreRead(t *testing.T) {
	b := newBench(t)
	b.arrive(entry(1, "k"), entry(2, ""))
	b.fake.onRead = func([]int) (job.ReadBatch, error) { return job.ReadBatch{}, job.ErrOutcomeUnknown }
	if err := b.d.turn(t.Context()); err != nil || !b.d.unsure {
		t.Fatalf("in doubt: %v, %v", b.d.unsure, err)
	}
	b.arrive(entry(3, ""))
	b.mustNotStart()
	if err := b.d.turn(t.Context()); err != nil || b.d.unsure {
		t.Fatalf("in doubt: %v, %v", b.d.unsure, err)
	}
	for n := range 3 {
		b.mustStart(n + 1)
	}
}

// Another server answers, with an older state under higher numbers: job 1, which had ended, is
// pending again, and job 2 is there as it was. Both start once, in the tenure that follows.
func TestWhatIsPendingOfAnOldTenureIsLeftToTheNext(t *testing.T) {
	b := newBench(t)
	b.arrive(entry(1, ""))
	b.complete(b.mustStart(1))
	b.arrive(entry(2, ""))
	b.fake.history, b.fake.epoch = []job.Entry{entry(1, ""), entry(2, "")}, 1001
	b.d.doubt()
	if err := b.d.reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.mustNotStart()
	if b.fake.asked > 0 {
		t.Error("the pending list was taken into the tenure that is over")
	}
	if n := b.dropFenced(); n != 1 {
		t.Fatalf("%d tenures are told to be over, want one", n)
	}
	b.d.lanes.Claim(0, 1001, true)
	b.d.lanes.Claimed(0, 1001, &job.ClaimPage{Cursor: "0-0", Entries: b.fake.history}, time.Now())
	b.d.setGate(0, 1001, true)
	b.d.startOpened()
	for n := range 2 {
		it := b.mustStart(n + 1)
		if fence := job.NewFence(it.Tenure.Generation, it.Tenure.Epoch); fence != job.NewFence(0, 1001) {
			t.Errorf("job %d has fence %d, of an old epoch", n+1, fence)
		}
	}
	b.mustNotStart()
}

// The server before hangs and another has taken its place: the reader's call is not answered
// yet, and the heartbeat of another connection is.
func TestAHeartbeatOfANewGenerationStopsAllStarts(t *testing.T) {
	b := newBench(t)
	b.arrive(entry(1, ""), entry(2, ""))
	for _, epoch := range []uint64{5, 6, 900} {
		b.d.Beaten(job.Beat{RingEpoch: epoch})
	}
	b.mustStart(1)
	b.d.Beaten(job.Beat{RingEpoch: 1900})
	b.mustNotStart()
	b.d.snapshotEvents(job.Snapshot{Beat: job.Beat{RingEpoch: 1900}, Owned: []job.OwnedPartition{{Partition: 0, Epoch: 1001}}})
	b.mustNotStart()
	b.d.snapshotEvents(job.Snapshot{Beat: job.Beat{RingEpoch: 1900}, Owned: []job.OwnedPartition{{Partition: 0, Epoch: 1}}})
	b.mustStart(2)
	b.d.Beaten(job.Beat{RingEpoch: 1900})
	b.arrive(entry(3, ""))
	b.mustStart(3)
}

// A plan brings a shard to the epoch of another that had a new generation. The participant knows of it when
// the heartbeat tells: it asks for no records.
func TestAHeartbeatThatTellsNoNewsStopsNobodyForLong(t *testing.T) {
	b := newBench(t)
	b.d.Beaten(job.Beat{RingEpoch: 5})
	b.arrive(entry(1, ""))
	b.d.Beaten(job.Beat{RingEpoch: 2005})
	b.mustNotStart()
	b.d.events = nil // as of a participant that knows
	if err := b.d.turn(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.mustStart(1)
}

// evicting answers a look at the records as to an incarnation that is no member.
type evicting struct{ *fakeStore }

func (evicting) Snapshot(context.Context) (job.Snapshot, error) {
	return job.Snapshot{Beat: job.Beat{Fenced: true}}, nil
}

func TestAnEvictedIncarnationStartsNothingMore(t *testing.T) {
	b := newBench(t)
	b.arrive(entry(1, ""))
	b.d.reader = evicting{b.fake}
	b.d.doubt()
	if err := b.d.reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.mustNotStart()
	if n := len(b.d.events); n != 1 {
		t.Errorf("%d events, want one that it is evicted", n)
	}
}

// The first connection is none that failed: a worker that joins asks for as much as one that works.
func TestTheFirstConnectionIsNoFailure(t *testing.T) {
	b := newBench(t)
	before := b.d.lanes.Claims()
	if err := b.d.reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := b.d.lanes.Claims(); n != before {
		t.Errorf("%d claims at a time, before it was connected %d", n, before)
	}
	b.d.doubt()
	if err := b.d.reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := b.d.lanes.Claims(); n >= before {
		t.Errorf("%d claims at a time after a call without an answer, before it %d", n, before)
	}
}
