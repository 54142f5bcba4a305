package driver

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"

	"ringmaster/job"
	"ringmaster/resize"
)

// slowServer answers acks and readings of the pending list when it is told to, with what
// was so when it was asked.
type slowServer struct {
	*fakeStore
	acks, histories      int // asked for
	ackGo, historyGo     chan struct{}
	pending              []job.Entry
	releaseErr, claimErr error
	named                int // by the last release
}

func (f *slowServer) Ack(ctx context.Context, shard int, batches []job.PartitionAcks) ([][]job.Answer, error) {
	f.acks++
	<-f.ackGo
	f.pending = f.pending[1:]
	return f.fakeStore.Ack(ctx, shard, batches)
}

func (f *slowServer) History(context.Context, int) ([]job.Entry, error) {
	f.histories++
	then := f.pending
	<-f.historyGo
	return then, nil
}

func (f *slowServer) Release(_ context.Context, ts []job.Tenure, running [][]job.EntryID, _ bool) ([]job.ReleaseAnswer, []error) {
	f.named = len(running[0])
	return make([]job.ReleaseAnswer, len(ts)), []error{f.releaseErr}
}

func (f *slowServer) Claim(_ context.Context, ts []job.Tenure, _ []string, _ int, _ []int, _ int) job.Claims {
	return job.Claims{Pages: make([]job.ClaimPage, len(ts)), Errs: []error{f.claimErr}}
}

func (b *bench) slow(pending ...job.Entry) *slowServer {
	f := &slowServer{fakeStore: b.fake, pending: pending, ackGo: make(chan struct{}), historyGo: make(chan struct{})}
	b.d.reader, b.d.member = f, f
	return f
}

// The own pending list has an entry until its ack is executed, and the worker has the job
// until the ack is answered. Read in between, the list would bring the job back as new.
func TestThePendingListIsNotReadWhileAnEndIsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		f := b.slow(entry(1, "k"), entry(2, "k"))
		b.arrive(f.pending...)
		b.finish(b.mustStart(1))
		merged := make(chan error, 1)
		go b.sendEnds(t.Context())
		synctest.Wait()
		go func() { merged <- b.d.mergeHistory(t.Context(), map[int]uint64{0: 1}) }()
		synctest.Wait()
		if f.acks != 1 || f.histories != 0 {
			t.Errorf("%d acks are in flight, and the list was read %d times", f.acks, f.histories)
		}
		close(f.ackGo)
		synctest.Wait()
		close(f.historyGo)
		if err := <-merged; err != nil {
			t.Fatal(err)
		}
		b.mustStart(2)
		b.mustNotStart()
	})
}

// A server that went back in time delivers again what was read: an end that it had before
// that ended nothing there.
func TestAnEndIsRepeatedForAJobThatWasDeliveredAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		f := b.slow(entry(1, "k"), entry(2, "k"))
		b.arrive(f.pending...)
		b.finish(b.mustStart(1))
		go b.sendEnds(t.Context())
		synctest.Wait()
		b.arrive(entry(1, "k"))
		close(f.ackGo)
		synctest.Wait()
		b.mustNotStart()
		b.sendEnds(t.Context())
		if f.acks != 2 {
			t.Errorf("%d ends were sent, want two", f.acks)
		}
		b.mustStart(2)
		b.mustNotStart()
	})
}

func TestNoEndSetsOutWhileThePendingListIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		f := b.slow(entry(1, "k"), entry(2, "k"))
		b.arrive(f.pending...)
		one := b.mustStart(1)
		merged := make(chan error, 1)
		go func() { merged <- b.d.mergeHistory(t.Context(), map[int]uint64{0: 1}) }()
		synctest.Wait()
		b.finish(one)
		go b.sendEnds(t.Context())
		synctest.Wait()
		if f.acks != 0 || f.histories != 1 {
			t.Errorf("%d acks were sent while the list was read", f.acks)
		}
		close(f.historyGo)
		if err := <-merged; err != nil {
			t.Fatal(err)
		}
		close(f.ackGo)
		synctest.Wait()
		b.mustStart(2)
		b.mustNotStart()
	})
}

// From the closing of the gate on nothing starts, so that what a release names is all
// that runs, whenever it is sent.
func TestNothingStartsBetweenTheGateAndTheRelease(t *testing.T) {
	b := newBench(t)
	f := b.slow()
	b.arrive(entry(1, "a"), entry(2, "b"), entry(3, "c"))
	b.mustStart(1)
	b.finish(b.mustStart(2)) // ended and not answered: it may still need its permit
	b.d.setGate(0, 1, false)
	b.mustNotStart()
	b.d.release(t.Context(), []resize.ReleasePartition{{Part: 0, Epoch: 1}})
	if f.named != 2 {
		t.Errorf("the release names %d jobs, two run or wait for their answer", f.named)
	}
	b.mustNotStart()
}

// What was not answered is neither done nor refused: the records are read first.
func TestUnansweredHandoversAreUnknown(t *testing.T) {
	b := newBench(t)
	f := b.slow()
	f.releaseErr, f.claimErr = job.ErrOutcomeUnknown, job.ErrOutcomeUnknown
	for _, ev := range b.d.release(t.Context(), []resize.ReleasePartition{{Part: 0, Epoch: 1}}) {
		if a := ev.(resize.ReleaseAnswered); a.Outcome != resize.ReleaseUnknown || !b.d.unsure {
			t.Errorf("release: %+v, connection in doubt: %v", a, b.d.unsure)
		}
	}
	b.d.unsure = false
	for _, ev := range b.d.claim(t.Context(), []resize.ClaimPartition{{Part: 0, Epoch: 1, First: true}}, true) {
		if a := ev.(resize.ClaimAnswered); a.Outcome != resize.ClaimUnknown || !b.d.unsure {
			t.Errorf("claim: %+v, connection in doubt: %v", a, b.d.unsure)
		}
	}
}

// Nobody repeats a hint that a former owner is done. With every reading of the records the
// permits that are left are looked at again.
func TestALostHintAboutADrainerIsFoundAgain(t *testing.T) {
	b := newBench(t)
	b.block(1, "a")
	events := b.d.snapshotEvents(job.Snapshot{Owned: []job.OwnedPartition{{Partition: 0, Epoch: 1, Planned: "w.1"}}})
	for _, ev := range events {
		if m, ok := ev.(resize.MessageReceived); ok && m.Message.Type == resize.TypeUndrained && m.Message.Part == 0 && m.Message.PartEpoch == 1 {
			return
		}
	}
	t.Errorf("%d events, none of which looks at the permit again", len(events))
}

// gateWatch notes whether partition 1 was open when the records were read.
type gateWatch struct {
	*fakeStore
	b    *bench
	open []bool
}

func (f *gateWatch) Snapshot(context.Context) (job.Snapshot, error) {
	t := f.b.d.lanes.At(1)
	f.open = append(f.open, t != nil && t.Gate())
	return job.Snapshot{Beat: job.Beat{RingEpoch: 1, Change: 3}, Owned: []job.OwnedPartition{{Partition: 1, Epoch: 1, Planned: "w.1"}}}, nil
}

// Something else was missed beside the message that gives a partition: that need not wait.
func TestAGateOpensBeforeTheRecordsAreRead(t *testing.T) {
	b := newBench(t)
	f := &gateWatch{fakeStore: b.fake, b: b}
	b.d.reader = f
	gained := resize.Message{Type: resize.TypeSync, Name: resize.Master, Phase: resize.Syncing, Epoch: 1, Part: 1, PartEpoch: 1, Change: 3}
	must := func(events ...resize.ParticipantEvent) {
		t.Helper()
		if err := b.d.step(t.Context(), events...); err != nil {
			t.Fatal(err)
		}
	}
	must(resize.Joined{Incarnation: "w.1", RingState: resize.RingState{Epoch: 1, Phase: resize.Stopping}})
	must(resize.MessageReceived{Message: gained})
	if len(f.open) == 0 || !f.open[0] {
		t.Errorf("the records were read with the gate open: %v, want so at once, and at least once", f.open)
	}
}

// bringer answers claims, and brings jobs and messages along.
type bringer struct {
	*fakeStore
	along job.ReadBatch
	err   error
	also  []int
}

func (f *bringer) Claim(_ context.Context, ts []job.Tenure, _ []string, _ int, also []int, _ int) job.Claims {
	f.also = also
	return job.Claims{Pages: make([]job.ClaimPage, len(ts)), Errs: make([]error, len(ts)), Along: f.along, AlongErr: f.err}
}

// Jobs of open partitions do not wait for the claim of another.
func TestWhatAClaimBringsAlongIsTakenIn(t *testing.T) {
	b := newBench(t)
	f := &bringer{fakeStore: b.fake, along: job.ReadBatch{
		Jobs:    []job.PartitionEntries{{Partition: 0, Entries: []job.Entry{entry(1, "k")}}},
		Control: []job.ControlEntry{{ID: "1-0", Fields: map[string]string{"type": "poke"}}},
	}}
	b.d.reader = f
	b.d.claim(t.Context(), []resize.ClaimPartition{{Part: 1, Epoch: 1, First: true}}, true)
	if len(f.also) != 1 || f.also[0] != 0 {
		t.Errorf("asks for jobs of %v beside the claim, want partition 0", f.also)
	}
	b.mustStart(1)
	if len(b.d.news) != 1 || b.d.unsure {
		t.Errorf("%d messages are known, connection in doubt: %v", len(b.d.news), b.d.unsure)
	}
}

// Jobs may have been handed out that nobody knows of.
func TestWhatCameAlongUnknownPutsTheConnectionInDoubt(t *testing.T) {
	for _, c := range []struct {
		err   error
		doubt bool
	}{{job.ErrOutcomeUnknown, true}, {job.ErrUnavailable, true}, {job.ErrGroupGone, false}} {
		b := newBench(t)
		b.d.reader = &bringer{fakeStore: b.fake, err: c.err}
		b.d.claim(t.Context(), []resize.ClaimPartition{{Part: 1, Epoch: 1, First: true}}, true)
		if b.d.unsure != c.doubt {
			t.Errorf("%v: connection in doubt: %v", c.err, b.d.unsure)
		}
	}
}

// After a failover the records may have ended every tenure: a look at the pending lists that
// comes with the reading of the records brings no new jobs along.
func TestNothingComesAlongWhileTheRecordsAreToBeRead(t *testing.T) {
	b := newBench(t)
	f := &bringer{fakeStore: b.fake}
	b.d.reader = f
	claim := resize.ClaimPartition{Part: 1, Epoch: 1, First: true}
	for _, c := range []struct {
		actions []resize.ParticipantAction
		due     bool
		along   int
	}{
		{[]resize.ParticipantAction{claim}, false, 1},
		{[]resize.ParticipantAction{claim, resize.ReadRecords{}}, false, 0},
		{[]resize.ParticipantAction{claim}, true, 0},
	} {
		f.also = nil
		if _, _, err := b.d.perform(t.Context(), c.actions, c.due); err != nil {
			t.Fatal(err)
		}
		if len(f.also) != c.along {
			t.Errorf("%v, records due: %v: asks for jobs of %v", c.actions, c.due, f.also)
		}
	}
}

// acker notes which messages were acknowledged.
type acker struct {
	*fakeStore
	ids []string
}

func (f *acker) AckControl(_ context.Context, ids []string) error {
	f.ids = append(f.ids, ids...)
	return nil
}

func TestMessagesThatCameAlongAreObeyedFirst(t *testing.T) {
	b := newBench(t)
	f := &acker{fakeStore: b.fake}
	b.d.reader = f
	poke := func(id string) job.ControlEntry {
		return job.ControlEntry{ID: id, Fields: map[string]string{"type": "poke"}}
	}
	b.d.news = []job.ControlEntry{poke("1-0"), poke("2-0")}
	for _, entries := range [][]job.ControlEntry{{poke("3-0")}, nil} {
		if err := b.d.messages(t.Context(), entries); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(f.ids, []string{"1-0", "2-0", "3-0"}) {
		t.Errorf("obeyed in the order %v", f.ids)
	}
}
