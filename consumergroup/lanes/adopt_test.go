package lanes

import (
	"encoding/json"
	"testing"

	"ringmaster/job"
	"ringmaster/resize"
)

// heard is a Run that remembers why it was told to end.
type heard struct{ cause error }

func (h *heard) End(cause error) { h.cause = cause }

// heardStart starts a job whose handler can be told to end.
func (b *bench) heardStart(n int) (*Item, *heard) {
	b.t.Helper()
	it, h := b.mustStart(n), &heard{}
	it.Run = h
	return it, h
}

// generation has the records tell of a tenure under another epoch, and the old one end.
func (b *bench) generation(epoch uint64) {
	b.s.Doubt()
	b.s.Confirm(map[int]uint64{0: epoch}, b.now)
	b.s.Drop(0, b.ten.Epoch, true, b.now)
}

// clean reports what is left though nothing is held.
func (b *bench) clean() {
	b.t.Helper()
	f := &b.p.former
	if len(f.runs)+len(f.waits)+len(f.ends)+len(f.heirs)+f.kept+b.p.runs+b.p.bytes+b.p.owed+len(b.s.started) != 0 || len(b.ten.items) != 0 {
		b.t.Errorf("left behind: %d former runs, %d wait, %d ends, %d heirs, %d kept, %d runs, %d bytes, %d owed, %d started, %d items",
			len(f.runs), len(f.waits), len(f.ends), len(f.heirs), f.kept, b.p.runs, b.p.bytes, b.p.owed, len(b.s.started), len(b.ten.items))
	}
}

// TestWhatRunsGoesOnInANewGeneration: the server was restarted and lost nothing. What runs is not
// told to end, starts no second time, holds its key, and ends under the new epoch.
func TestWhatRunsGoesOnInANewGeneration(t *testing.T) {
	for _, epochs := range [][]uint64{{1001}, {251001}, {1001, 4001, 5001}} {
		b := newBench(t, nil)
		b.arrive(entry(1, "k"), entry(2, "k"), entry(3, ""))
		one, first := b.heardStart(1)
		three, third := b.heardStart(3)
		for _, epoch := range epochs {
			b.generation(epoch)
			b.again(epoch, entry(1, "k"), entry(2, "k"), entry(3, ""), entry(4, "other"))
			b.complete(b.mustStart(4))
			b.mustNotStart()
		}
		if first.cause != nil || third.cause != nil {
			t.Errorf("told to end: %v, %v", first.cause, third.cause)
		}
		one.Attempt = 3 // its executor has no other item
		b.finish(one)
		if c := b.ends[0].c; c.Epoch != b.ten.Epoch || c.ID != eid(1) || c.Attempt != 3 {
			t.Errorf("ends as %+v, want under the epoch %d", c, b.ten.Epoch)
		}
		b.mustNotStart()
		b.answer(job.ByOwner)
		b.complete(b.mustStart(2))
		b.p.Finished(three, job.Completion{Outcome: job.Failed, Data: "again"})
		b.answer(job.ByOwner)
		b.complete(b.mustStart(3))
		b.clean()
	}
}

// TestWhatIsNotAsItWasIsLost: what cannot be shown to be unchanged is told to end, and starts
// again once it has, where it is pending.
func TestWhatIsNotAsItWasIsLost(t *testing.T) {
	page := func(entries ...job.Entry) *job.ClaimPage { return &job.ClaimPage{Cursor: "0-0", Entries: entries} }
	tried, other, suspect := entry(5, "k"), entry(5, "k"), entry(5, "k")
	tried.Retry, other.Payload, suspect.Retry = "once", json.RawMessage("1"), "apart"
	behind, parked := page(entry(5, "k")), page(entry(5, "k"))
	behind.Permits = []job.Permit{{ID: eid(2), Holder: "x@1", Key: "k"}}
	parked.Parked = []job.ParkedKey{{Key: "k", First: eid(4)}}
	for _, c := range []struct {
		name  string
		first job.Entry
		epoch uint64
		page  *job.ClaimPage
		next  int // what starts once it has ended; 0: nothing
	}{
		{"it is not there", entry(5, "k"), 1001, page(entry(6, "k")), 6},
		{"nothing is there", entry(5, ""), 1001, page(), 0},
		{"another attempt was counted", entry(5, "k"), 1001, page(tried), 5},
		{"it has another payload", entry(5, "k"), 1001, page(other), 5},
		{"an end before it was forgotten", entry(5, "k"), 1001, page(entry(4, "k"), entry(5, "k")), 4},
		{"a job before it is set aside", entry(5, "k"), 1001, parked, 0},
		{"a former owner runs one before it", entry(5, "k"), 1001, behind, 0},
		{"a suspect", suspect, 1001, page(suspect), 5},
		{"the partition was away", entry(5, "k"), 3, page(entry(5, "k")), 5},
		{"it was away, and then a new generation", entry(5, "k"), 1003, page(entry(5, "k")), 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, nil)
			b.arrive(c.first)
			it, run := b.heardStart(5)
			b.generation(c.epoch)
			b.ten, _ = b.s.Claim(0, c.epoch, true)
			b.s.Claimed(0, c.epoch, c.page, b.now)
			b.s.SetGate(0, c.epoch, true, b.now)
			b.s.StartOpened(b.now)
			if run.cause != job.ErrLost {
				t.Errorf("told %v, want %v", run.cause, job.ErrLost)
			}
			b.mustNotStart()
			b.finish(it)
			b.answer(job.Refused)
			if c.next == 0 {
				b.mustNotStart()
				return
			}
			b.complete(b.mustStart(c.next))
		})
	}
}

// TestEndsThatWereRefusedCountInANewGeneration: jobs ended while nobody answered. Their ends, sent
// under the old epoch, are refused or never answered; their work is not done again.
func TestEndsThatWereRefusedCountInANewGeneration(t *testing.T) {
	for name, end := range map[string]func(b *bench, it *Item) func(){
		"refused before the records tell": func(b *bench, it *Item) func() {
			b.finish(it)
			b.answer(job.Refused)
			b.generation(1001)
			return func() {}
		},
		"refused before the claim": func(b *bench, it *Item) func() {
			b.finish(it)
			b.generation(1001)
			b.answer(job.Refused)
			return func() {}
		},
		"refused after the claim": func(b *bench, it *Item) func() {
			b.finish(it)
			batch := b.send()
			b.generation(1001)
			return func() { b.reply(batch, job.Refused) }
		},
		"taken by the server before": func(b *bench, it *Item) func() {
			b.finish(it)
			batch := b.send()
			b.generation(1001)
			return func() { b.reply(batch, job.ByOwner) }
		},
		"ended before the claim": func(b *bench, it *Item) func() {
			b.generation(1001)
			b.finish(it)
			return func() {}
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			b.arrive(entry(1, "k"), entry(2, "k"))
			then := end(b, b.mustStart(1))
			b.again(1001, entry(1, "k"), entry(2, "k"))
			b.mustNotStart()
			then()
			b.mustNotStart()
			if len(b.ends) != 1 || b.ends[0].c.Epoch != 1001 || b.ends[0].c.Outcome != job.Done {
				t.Fatalf("ends: %+v, want one under the new epoch", b.ends)
			}
			b.answer(job.ByOwner)
			b.complete(b.mustStart(2))
			b.clean()
		})
	}
}

// TestHeldEndsHoldNoRoom: an end that waits for its page must not keep that page waiting.
func TestHeldEndsHoldNoRoom(t *testing.T) {
	b := newBench(t, nil)
	b.arrive(entry(1, ""), entry(2, ""))
	one, two := b.mustStart(1), b.mustStart(2)
	b.finish(one)
	b.answer(job.Refused)
	b.generation(1001)
	b.finish(two)
	if b.p.bytes != 0 {
		t.Errorf("%d bytes are held by jobs that have ended", b.p.bytes)
	}
	b.again(1001)
	b.clean()
}

// TestAClaimOfSeveralPagesTellsOneByOne: a run is waited for until a page covers its id.
func TestAClaimOfSeveralPagesTellsOneByOne(t *testing.T) {
	b := newBench(t, nil)
	b.arrive(entry(1, ""), entry(2, ""), entry(3, ""), entry(4, ""))
	var runs [5]*heard
	for n := 1; n <= 4; n++ {
		_, runs[n] = b.heardStart(n)
	}
	told := func(want ...int) {
		t.Helper()
		for n := 1; n <= 4; n++ {
			is := false
			for _, w := range want {
				is = is || w == n
			}
			if (runs[n].cause != nil) != is {
				t.Errorf("job %d was told %v; those told are to be %v", n, runs[n].cause, want)
			}
		}
	}
	b.generation(1001)
	b.ten, _ = b.s.Claim(0, 1001, true)
	b.s.Claimed(0, 1001, &job.ClaimPage{Cursor: "3-0", Entries: []job.Entry{entry(1, "")}}, b.now)
	told(2)
	b.s.Merge(b.ten, []job.Entry{entry(3, "")}, b.now) // the answer to the second page was lost
	told(2)
	b.s.Claimed(0, 1001, &job.ClaimPage{Cursor: "0-0"}, b.now)
	told(2, 4)
}

// TestWhatIsKeptIsToldWhenNothingCanCome: the records have the last word, and what takes the
// partition away.
func TestWhatIsKeptIsToldWhenNothingCanCome(t *testing.T) {
	for name, c := range map[string]struct {
		first map[int]uint64 // told of the records before the tenure ends
		then  func(b *bench)
		told  bool
	}{
		"another has it":                {map[int]uint64{}, func(*bench) {}, true},
		"nobody knows yet":              {nil, func(*bench) {}, false},
		"the records have it not":       {nil, func(b *bench) { b.s.Confirm(nil, b.now) }, true},
		"the records have it again":     {nil, func(b *bench) { b.s.Confirm(map[int]uint64{0: 1001}, b.now) }, false},
		"it comes again otherwise":      {nil, func(b *bench) { b.s.Claim(0, 3, true) }, true},
		"it comes again":                {nil, func(b *bench) { b.s.Claim(0, 1001, true) }, false},
		"it comes, and is lost":         {nil, func(b *bench) { b.s.Claim(0, 1001, true); b.s.Drop(0, 1001, true, b.now) }, false},
		"it comes, and is given away":   {nil, func(b *bench) { b.s.Claim(0, 1001, true); b.s.Drop(0, 1001, false, b.now) }, true},
		"the incarnation ends":          {nil, func(b *bench) { b.s.AbandonAll() }, true},
		"another incarnation's records": {nil, func(b *bench) { NewShard(b.p, b).Confirm(nil, b.now) }, false},
	} {
		b := newBench(t, nil)
		b.arrive(entry(1, "k"))
		_, run := b.heardStart(1)
		if c.first != nil {
			b.s.Confirm(c.first, b.now)
		}
		b.s.Drop(0, 1, true, b.now)
		c.then(b)
		if (run.cause != nil) != c.told {
			t.Errorf("%s: the run was told %v", name, run.cause)
		}
	}
}

// TestAReleaseOfAFormerGenerationLeavesNoPermits: a release was not answered, and the records of
// a later generation have the partition here still: it gave nothing away. What runs has no
// permit, and another may start it once the partition goes in the new tenure.
func TestAReleaseOfAFormerGenerationLeavesNoPermits(t *testing.T) {
	for _, c := range []struct {
		name  string
		owned map[int]uint64
		ends  bool
	}{
		{"a later generation", map[int]uint64{0: 1001}, true},
		{"two generations later", map[int]uint64{0: 2001}, true},
		{"another's", nil, false},
		{"came back in between", map[int]uint64{0: 3}, false},
		{"came back, and then a later generation", map[int]uint64{0: 1003}, false},
	} {
		b := newBench(t, nil)
		b.arrive(entry(1, "k"))
		_, run := b.heardStart(1)
		b.s.Doubt()
		b.s.Confirm(c.owned, b.now)
		b.s.Drop(0, 1, false, b.now)
		if epoch := c.owned[0]; epoch > 0 {
			b.s.Claim(0, epoch, true)
			b.s.Claimed(0, epoch, &job.ClaimPage{Cursor: "9-0"}, b.now)
			b.s.Drop(0, epoch, false, b.now)
		}
		if (run.cause != nil) != c.ends {
			t.Errorf("%s: the run was told %v", c.name, run.cause)
		}
	}
}

// TestWhatWentOnGoesWithItsPartition: a partition that is planned away is claimed, and goes. What
// came into it is waited for, or named.
func TestWhatWentOnGoesWithItsPartition(t *testing.T) {
	b := newBench(t, nil)
	b.arrive(entry(1, "k"))
	it := b.mustStart(1)
	b.generation(1001)
	b.ten, _ = b.s.Claim(0, 1001, true)
	b.s.Claimed(0, 1001, &job.ClaimPage{Cursor: "0-0", Entries: []job.Entry{entry(1, "k")}}, b.now)
	if !b.s.Adopted(0, 1001) || b.s.Adopted(0, 1001) || b.s.Adopted(0, 1) {
		t.Error("want to be told once that jobs run")
	}
	if named := b.s.Naming(0, 1001); len(named) != 1 || named[0] != eid(1) {
		t.Errorf("a release names %v", named)
	}
	b.events = nil
	b.finish(it)
	b.answer(job.ByOwner)
	idle := resize.PartitionIdle{Part: 0, Epoch: 1001}
	if len(b.events) == 0 || b.events[0] != resize.ParticipantEvent(idle) {
		t.Errorf("events %v, want %v", b.events, idle)
	}
}

// TestAClaimFromBeforeIsNoNews: a claim was asked for, and not answered, before the tenure ended. Asked for
// once more it is refused: what is kept of the tenure goes on under the epoch that follows.
func TestAClaimFromBeforeIsNoNews(t *testing.T) {
	b := newBench(t, nil)
	b.arrive(entry(1, "k"), entry(2, "k"))
	one, run := b.heardStart(1)
	old := b.ten.Epoch
	b.generation(1001)
	b.s.Claim(0, old, true)
	b.s.Drop(0, old, true, b.now)
	b.again(1001, entry(1, "k"), entry(2, "k"))
	b.mustNotStart()
	if run.cause != nil {
		t.Errorf("told to end: %v", run.cause)
	}
	b.finish(one)
	b.answer(job.ByOwner)
	b.complete(b.mustStart(2))
	b.clean()
}
