package sim

import (
	"context"
	"fmt"
	"time"

	"ringmaster/job"
)

// The calls of the driver's reader, answered by the model of the store: driver.Reader.

// ask sends a request of the reader.
func (k *limb) ask(ctx context.Context, what string, exec func()) error {
	return k.tell(ctx, &call{conn: k.reader, what: what, exec: exec})
}

func (k *limb) tell(ctx context.Context, c *call) error {
	answered := k.e.ask(ctx.(*fiber), &k.node, c)
	k.lists()
	if !answered {
		return fmt.Errorf("%s: %w", c.what, job.ErrOutcomeUnknown)
	}
	return nil
}

// pipe sends requests in one round trip. Of an answer that is lost on its way a part may have come.
func (k *limb) pipe(ctx context.Context, what string, execs []func()) []error {
	c := &call{conn: k.reader, what: what, rest: execs[1:], exec: execs[0]}
	failed := k.tell(ctx, c)
	errs := make([]error, len(execs))
	if failed != nil {
		for i := c.came; i < len(errs); i++ {
			errs[i] = failed
		}
	}
	return errs
}

// lists notes what runs, for the bug that has a release name what ran a while ago.
func (k *limb) lists() {
	if k.e.bug != BugStalePermits {
		return
	}
	for _, t := range k.lanes.Tenures() {
		k.listed[t.Tenure] = k.lanes.Naming(t.Partition, t.Epoch)
	}
}

// Reset implements driver.Reader: a new connection, and the old one is ended at the server.
func (k *limb) Reset(ctx context.Context) error {
	old := k.reader
	k.reader = k.dial()
	k.reader.deaf = old.deaf
	err := k.ask(ctx, "hang up", func() {
		if k.e.bug != BugOldConnection {
			k.e.hangUp(old)
		}
	})
	if err != nil {
		k.e.hangUp(k.reader)
		k.reader = old
	}
	return err
}

// Snapshot implements driver.Reader.
func (k *limb) Snapshot(ctx context.Context) (job.Snapshot, error) {
	var out job.Snapshot
	inc := k.inc
	err := k.ask(ctx, "snapshot", func() { out = k.store().snapshot(inc) })
	return out, err
}

// History implements driver.Reader.
func (k *limb) History(ctx context.Context, part int) ([]job.Entry, error) {
	var out []job.Entry
	inc, mine := k.inc, false
	err := k.ask(ctx, "history", func() {
		out, mine = k.store().history(inc, part)
	})
	switch {
	case err != nil:
		return nil, err
	case !mine:
		return nil, job.ErrGroupGone
	case k.e.bug == BugNoMerge:
		return nil, nil
	}
	return out, nil
}

// Claim implements driver.Reader.
func (k *limb) Claim(ctx context.Context, tenures []job.Tenure, cursors []string, count int, also []int, each int) job.Claims {
	out, inc := job.Claims{Pages: make([]job.ClaimPage, len(tenures))}, k.inc
	if k.e.bug == BugReadEarly {
		for _, t := range tenures {
			also = append(also, t.Partition)
		}
	}
	var execs []func()
	for i, t := range tenures {
		k.of(k.lanes.At(t.Partition)) // known from before it is the store's
		execs = append(execs, func() {
			out.Pages[i] = *k.store().claimPage(inc, t.Partition, t.Epoch, cursors[i], min(count, pageSize))
		})
	}
	var r batchRead
	execs = append(execs, func() { r.fill(k.store(), inc, also, min(each, pageSize), all) })
	errs := k.pipe(ctx, "claim", execs)
	out.Errs, out.AlongErr = errs[:len(tenures)], errs[len(tenures)]
	for i := range out.Pages {
		if out.Errs[i] != nil {
			out.Pages[i] = job.ClaimPage{}
			k.blind = k.blind || cursors[i] == ""
		}
		k.spoil(&out.Pages[i])
	}
	if out.AlongErr == nil {
		out.Along, out.AlongErr = k.batch(&r)
	}
	return out
}

// spoil has bugs change what a page tells.
func (k *limb) spoil(p *job.ClaimPage) {
	if k.e.bug == BugDrainersKey {
		p.Permits = nil
	}
	for i := range p.Entries {
		if k.e.bug == BugNothingKept {
			p.Entries[i].Type = "another"
		}
	}
}

// Release implements driver.Reader.
func (k *limb) Release(ctx context.Context, tenures []job.Tenure, running [][]job.EntryID, alone bool) ([]job.ReleaseAnswer, []error) {
	out, inc := make([]job.ReleaseAnswer, len(tenures)), k.inc
	var execs []func()
	for i, t := range tenures {
		runs := numbers(running[i])
		if k.e.bug == BugStalePermits {
			runs = numbers(k.listed[t])
		}
		execs = append(execs, func() {
			out[i] = k.store().releaseOf(inc, t, runs, alone)
		})
	}
	return out, k.pipe(ctx, "release", execs)
}

// Unpark implements driver.Reader.
func (k *limb) Unpark(ctx context.Context, asks []job.Unpark) ([]job.UnparkPage, []error) {
	out, inc := make([]job.UnparkPage, len(asks)), k.inc
	room := pageSize // of all keys together, as bytes are
	var execs []func()
	for i, a := range asks {
		execs = append(execs, func() {
			out[i] = k.store().unpark(inc, a.Tenure.Partition, a.Tenure.Epoch, a.Key, min(a.Count, room))
			room -= out[i].Taken
		})
	}
	return out, k.pipe(ctx, "unpark", execs)
}

// Skim implements driver.Reader.
func (k *limb) Skim(ctx context.Context, asks []job.Skim) ([]job.SkimPage, []error) {
	out, inc := make([]job.SkimPage, len(asks)), k.inc
	var execs []func()
	for i, a := range asks {
		execs = append(execs, func() {
			out[i] = k.store().skim(inc, a.Tenure.Partition, a.Tenure.Epoch, a.Room, a.Most)
		})
	}
	return out, k.pipe(ctx, "skim", execs)
}

// Read implements driver.Reader: the one read of inbox and partitions. An inbox or a group that is
// gone fails the whole of it.
func (k *limb) Read(ctx context.Context, parts []int, count int, block time.Duration) (job.ReadBatch, error) {
	if k.e.bug == BugReadEarly {
		parts = nil
		for _, t := range k.lanes.Tenures() {
			parts = append(parts, t.Partition)
		}
	}
	var r batchRead
	inc := k.inc
	c := &call{conn: k.reader, what: "read", wait: max(0, block.Milliseconds())}
	c.block = func() bool { return r.fill(k.store(), inc, parts, min(count, pageSize), all) }
	k.read = c
	err := k.tell(ctx, c)
	k.read = nil
	if err != nil {
		return job.ReadBatch{}, err
	}
	return k.batch(&r)
}

// AckControl implements driver.Reader. The messages of an inbox are gone once they are read.
func (k *limb) AckControl(context.Context, []string) error { return nil }

// batch is what a read brought as the driver gets it.
func (k *limb) batch(r *batchRead) (job.ReadBatch, error) {
	for _, m := range r.messages {
		k.e.log(k.inc, string(m.Type), int64(m.Phase), int64(m.Part))
	}
	return r.batch(&k.e.told)
}
