package driver

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"ringmaster/job"
	"ringmaster/resize"
)

// claimPageSize keeps a claim short: larger pages delay everybody else at the server, and
// the first job of the partition.
const claimPageSize = 32

// alongCount is how many messages, and new jobs of a partition, a claim brings along at most:
// they must not keep its own answer waiting.
const alongCount = 32

// step feeds the participant events and does what it wants, until nothing is left.
func (d *Driver) step(ctx context.Context, events ...resize.ParticipantEvent) error {
	if len(events) == 0 {
		return nil
	}
	d.stirs()
	defer d.settles()
	read := false
	for len(events) > 0 || read {
		var actions []resize.ParticipantAction
		for _, ev := range events {
			more, err := d.cfg.Step(d.brain, ev)
			if err != nil {
				return fmt.Errorf("participant: %w", err)
			}
			actions = append(actions, more...)
		}
		var err error
		if events, read, err = d.perform(ctx, actions, read); err != nil {
			return err
		}
		if !d.unsure {
			d.hears()
		}
	}
	return nil
}

// perform does a round of actions and returns the events that answer them. What needs no
// round trip comes first, and what it opened starts before anything waits; then releases and
// claims, each kind in one round trip: no action of a round rests on the answer to another
// of it. The records are read in the round after, so that gates do not wait for it; due
// says that this is the one, later that the next is.
func (d *Driver) perform(ctx context.Context, actions []resize.ParticipantAction, due bool) (_ []resize.ParticipantEvent, later bool, _ error) {
	var claims []resize.ClaimPartition
	var releases []resize.ReleasePartition
	var unblocks []resize.Unblock
	for _, a := range actions {
		switch a := a.(type) {
		case resize.ClaimPartition:
			claims = append(claims, a)
		case resize.ReleasePartition:
			releases = append(releases, a)
		case resize.Unblock:
			unblocks = append(unblocks, a)
		case resize.ReadRecords:
			later = true
		case resize.OpenGate:
			d.setGate(a.Part, a.Epoch, true)
		case resize.ReopenGate:
			d.setGate(a.Part, a.Epoch, true)
		case resize.CloseGate:
			d.setGate(a.Part, a.Epoch, false)
		case resize.StartReading:
			d.startReading(a.Part, a.Epoch)
		case resize.DropPartition:
			d.drop(a)
		case resize.Report:
			d.report(a)
		case resize.Rejoin:
			return nil, false, ErrEvicted
		default:
			return nil, false, fmt.Errorf("participant wants %v, which is not known here", a)
		}
	}
	d.startOpened()
	// Until the records are read it is not known which tenures go on, as after a failover: no
	// new job is read under them.
	jobs := !due && !later
	events := append(d.release(ctx, releases), d.claim(ctx, claims, jobs)...)
	events = append(events, d.unblock(ctx, unblocks, jobs)...)
	if due || later && len(events) == 0 {
		more, err := d.readRecords(ctx)
		if err != nil {
			return nil, false, err
		}
		events, later = append(events, more...), false
	}
	return events, later, nil
}

// claim takes over pages of pending jobs. jobs: it may bring new ones along.
func (d *Driver) claim(ctx context.Context, as []resize.ClaimPartition, jobs bool) []resize.ParticipantEvent {
	if len(as) == 0 {
		return nil
	}
	d.lock.Lock()
	most := d.lanes.Claims()
	d.lock.Unlock()
	if len(as) > most {
		return append(d.claim(ctx, as[:most], jobs), d.claim(ctx, as[most:], jobs)...)
	}
	if as = d.affordable(as); len(as) == 0 {
		return nil
	}
	tenures, cursors := make([]job.Tenure, len(as)), make([]string, len(as))
	d.lock.Lock()
	for i, a := range as {
		t, cursor := d.lanes.Claim(a.Part, a.Epoch, a.First)
		t.Generation = max(t.Generation, d.cfg.Generation)
		tenures[i], cursors[i] = t.Tenure, cursor
	}
	d.lock.Unlock()
	events := make([]resize.ParticipantEvent, len(as))
	if d.unsure {
		// What an unanswered call took is marked no more, and not known here: a page without
		// it, and without its permit, would free its key. First the connection is made anew.
		for i, a := range as {
			events[i] = resize.ClaimAnswered{Part: a.Part, Epoch: a.Epoch, Outcome: resize.ClaimUnknown}
		}
		return events
	}
	got := d.claimPages(ctx, tenures, cursors, jobs)
	defer d.along(&got)
	pages, errs := got.Pages, got.Errs
	brought, answered := 0, true
	for i, a := range as {
		for _, e := range pages[i].Entries {
			brought += len(e.Payload)
		}
		out := resize.ClaimAnswered{Part: a.Part, Epoch: a.Epoch}
		switch {
		case errs[i] != nil:
			d.doubt()
			answered = false
			d.log.Debug("claim was not answered", "partition", a.Part, "epoch", a.Epoch, "error", errs[i])
			out.Outcome = resize.ClaimUnknown
		case pages[i].Fenced:
			out.Outcome = resize.ClaimFenced
		default:
			out.More, out.Runs = d.claimed(a, &pages[i])
		}
		events[i] = out
	}
	if answered {
		d.lock.Lock()
		d.lanes.ClaimsBrought(len(as), brought)
		d.lock.Unlock()
	}
	return events
}

// affordable leaves the claims that may be sent now. While there is no room the further pages of
// a claim wait: they are taken for answered, by a page that brought nothing. The first page of a
// pass never waits: it has the oldest jobs, which may be what all that is held waits for.
func (d *Driver) affordable(as []resize.ClaimPartition) []resize.ClaimPartition {
	if !d.full() {
		return as
	}
	return slices.DeleteFunc(slices.Clone(as), func(a resize.ClaimPartition) bool {
		if !a.First {
			d.held = append(d.held, resize.ClaimAnswered{Part: a.Part, Epoch: a.Epoch, More: true})
		}
		return !a.First
	})
}

// claimPages asks for a page of each tenure, for messages, and for new jobs of what is open if
// jobs is true.
func (d *Driver) claimPages(ctx context.Context, tenures []job.Tenure, cursors []string, jobs bool) job.Claims {
	parts, each, _ := d.toRead()
	if !jobs {
		parts = nil
	}
	return d.reader.Claim(ctx, tenures, cursors, claimPageSize, parts, min(each, alongCount))
}

// along takes in what a claim has brought along, before anything else is done: no tenure may
// end between the reading and this. What was refused the next read finds out too.
func (d *Driver) along(got *job.Claims) {
	d.lock.Lock()
	d.lanes.ReadEnded()
	d.lock.Unlock()
	if err := got.AlongErr; err != nil {
		if errors.Is(err, job.ErrOutcomeUnknown) || errors.Is(err, job.ErrUnavailable) {
			d.doubt()
		}
		return
	}
	d.weigh(got.Along)
	d.take(got.Along.Jobs)
	d.news = append(d.news, got.Along.Control...)
}

// jobsLost is the line that tells of it, wherever it is found.
const jobsLost = "jobs are lost: somebody deleted pending entries"

// claimed takes a page in and reports whether the claim goes on, and whether jobs run.
func (d *Driver) claimed(a resize.ClaimPartition, page *job.ClaimPage) (more, runs bool) {
	if page.Lost > 0 {
		d.log.Error(jobsLost, "partition", a.Part, "lost", page.Lost)
	}
	d.lock.Lock()
	defer d.lock.Unlock()
	more = d.lanes.Claimed(a.Part, a.Epoch, page, d.clock.Now())
	return more, d.lanes.Adopted(a.Part, a.Epoch)
}

// unblock: somebody says that former owners finished jobs. The messages are hints; the
// pending lists tell, and free the keys if it is so. What one page cannot tell, or no
// answer did, a whole pass of claims will: the hint does not come again. While a call is
// unanswered no page can tell, as for claim. Before the first page nothing is looked for:
// that page tells.
func (d *Driver) unblock(ctx context.Context, as []resize.Unblock, jobs bool) []resize.ParticipantEvent {
	var tenures []job.Tenure
	d.lock.Lock()
	for _, a := range as {
		if t := d.lanes.Paged(a.Part, a.Epoch); t != nil && !slices.Contains(tenures, t.Tenure) {
			tenures = append(tenures, t.Tenure)
		}
	}
	d.lock.Unlock()
	if len(tenures) == 0 {
		return nil
	}
	var events []resize.ParticipantEvent
	if d.unsure {
		for _, k := range tenures {
			events = append(events, lookAgain(k))
		}
		return events
	}
	got := d.claimPages(ctx, tenures, make([]string, len(tenures)), jobs)
	defer d.along(&got)
	pages, errs := got.Pages, got.Errs
	for i, k := range tenures {
		switch {
		case errs[i] != nil:
			d.doubt()
			events = append(events, lookAgain(k))
		case pages[i].Fenced:
			d.Fenced(k)
		default:
			d.lock.Lock()
			if d.lanes.Looked(k.Partition, k.Epoch, &pages[i], d.clock.Now()) {
				events = append(events, lookAgain(k))
			}
			d.lock.Unlock()
		}
	}
	return events
}

// lookAgain has a partition's pending jobs claimed once more, as a message would.
func lookAgain(t job.Tenure) resize.ParticipantEvent {
	return resize.MessageReceived{Message: resize.Message{Type: resize.TypeUndrained, Name: resize.Master, Part: t.Partition, PartEpoch: t.Epoch}}
}

// readRecords reads what the store says of this incarnation.
func (d *Driver) readRecords(ctx context.Context) ([]resize.ParticipantEvent, error) {
	if d.unsure {
		if err := d.reset(ctx); err != nil {
			return nil, err
		}
	}
	for {
		snap, err := d.reader.Snapshot(ctx)
		if err == nil {
			return d.snapshotEvents(snap), nil
		}
		if err := d.readFailed(ctx, err); err != nil {
			return nil, err
		}
		if err := d.reset(ctx); err != nil {
			return nil, err
		}
	}
}

func (d *Driver) snapshotEvents(snap job.Snapshot) []resize.ParticipantEvent {
	if snap.Fenced {
		return []resize.ParticipantEvent{resize.Evicted{}}
	}
	ev := resize.SnapshotRead{Owned: epochs(snap), Plan: map[int]string{}, RingState: ringState(snap.Beat)}
	for _, o := range snap.Owned {
		ev.Plan[o.Partition] = o.Planned
	}
	d.lock.Lock()
	d.epoch = max(d.epoch, snap.RingEpoch)
	d.lanes.Confirm(ev.Owned, d.clock.Now())
	parts := d.lanes.Blocked()
	d.lock.Unlock()
	events := []resize.ParticipantEvent{ev}
	// A lost hint about a drainer would block its key for ever: look again.
	for _, t := range parts {
		events = append(events, lookAgain(t))
	}
	return events
}

// epochs are the tenures of a snapshot, by partition.
func epochs(snap job.Snapshot) map[int]uint64 {
	owned := make(map[int]uint64, len(snap.Owned))
	for _, o := range snap.Owned {
		owned[o.Partition] = o.Epoch
	}
	return owned
}

func ringState(b job.Beat) resize.RingState {
	mode, err := resize.ParseMode(b.Mode)
	if err != nil {
		mode = resize.ModeKey
	}
	return resize.RingState{Epoch: b.RingEpoch, Phase: resize.Phase(b.Phase), Mode: mode, Change: b.Change}
}

// setGate opens or closes a gate.
func (d *Driver) setGate(part int, epoch uint64, open bool) {
	d.lock.Lock()
	defer d.lock.Unlock()
	d.log.Debug("gate", "partition", part, "epoch", epoch, "open", open)
	d.lanes.SetGate(part, epoch, open, d.clock.Now())
}

// startOpened starts what was waiting behind gates that were opened.
func (d *Driver) startOpened() {
	d.lock.Lock()
	defer d.lock.Unlock()
	d.lanes.StartOpened(d.clock.Now())
}

func (d *Driver) startReading(part int, epoch uint64) {
	d.lock.Lock()
	defer d.lock.Unlock()
	d.lanes.StartReading(part, epoch)
}
