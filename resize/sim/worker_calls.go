package sim

import (
	"context"
	"fmt"
	"time"

	"ringmaster/job"
	"ringmaster/resize"
)

// The calls of a driver in a World: driver.Reader and driver.Member. Each is a request, which the
// store executes as one step.

// Reset implements driver.Reader. The first connection needs nobody's word.
func (k *worker) Reset(ctx context.Context) error {
	if !k.made {
		k.made = true
		return ctx.Err()
	}
	return k.ask(ctx, &openCall{kind: "reset", says: []string{"connects anew"}, exec: func() []string { return nil }})
}

// Snapshot implements driver.Reader.
func (k *worker) Snapshot(ctx context.Context) (job.Snapshot, error) {
	var out job.Snapshot
	err := k.ask(ctx, &openCall{kind: "read-records", says: []string{resize.ReadRecords{}.String()}, held: true, exec: func() []string {
		if out = k.w.store.snapshot(k.inc); out.Fenced {
			return []string{"FENCED"}
		}
		return nil
	}})
	return out, err
}

// History implements driver.Reader.
func (k *worker) History(ctx context.Context, part int) ([]job.Entry, error) {
	var out []job.Entry
	mine := false
	err := k.ask(ctx, &openCall{kind: "history", says: []string{fmt.Sprintf("history %d", part)}, exec: func() []string {
		out, mine = k.w.store.history(k.inc, part)
		return []string{fmt.Sprint(idsOf(out))}
	}})
	if err == nil && !mine {
		err = job.ErrGroupGone
	}
	return out, err
}

// idsOf are the numbers of entries.
func idsOf(entries []job.Entry) []int {
	out := make([]int, len(entries))
	for i := range entries {
		out[i] = int(entries[i].ID.Ms)
	}
	return out
}

// Claim implements driver.Reader.
func (k *worker) Claim(ctx context.Context, tenures []job.Tenure, cursors []string, count int, also []int, each int) job.Claims {
	out := job.Claims{Pages: make([]job.ClaimPage, len(tenures)), Errs: make([]error, len(tenures))}
	r := openCall{kind: "claim"}
	for i, t := range tenures {
		c := resize.ClaimPartition{Part: t.Partition, Epoch: t.Epoch, First: cursors[i] == "" || cursors[i] == job.ClaimAll}
		r.says = append(r.says, c.String())
	}
	var along batchRead
	r.exec = func() []string {
		results := make([]string, len(tenures))
		for i, t := range tenures {
			out.Pages[i] = *k.w.store.claimPage(k.inc, t.Partition, t.Epoch, cursors[i], min(count, pageSize))
			results[i] = fmt.Sprint(idsOf(out.Pages[i].Entries))
			switch {
			case out.Pages[i].Fenced:
				results[i] = "fenced"
			case out.Pages[i].Cursor != "0-0":
				results[i] += " more"
			}
		}
		along.fill(k.w.store, k.inc, also, min(each, pageSize), all)
		return results
	}
	if err := k.ask(ctx, &r); err != nil {
		clear(out.Pages)
		for i := range out.Errs {
			out.Errs[i] = err
		}
		out.AlongErr = err
		return out
	}
	out.Along, out.AlongErr = k.hears(&along)
	return out
}

// askAll is ask for n answers, each of which is lost if the call's is.
func (k *worker) askAll(ctx context.Context, r *openCall, n int) []error {
	errs := make([]error, n)
	if err := k.ask(ctx, r); err != nil {
		for i := range errs {
			errs[i] = err
		}
	}
	return errs
}

// Release implements driver.Reader.
func (k *worker) Release(ctx context.Context, tenures []job.Tenure, running [][]job.EntryID, alone bool) ([]job.ReleaseAnswer, []error) {
	out := make([]job.ReleaseAnswer, len(tenures))
	r := openCall{kind: "release"}
	for _, t := range tenures {
		r.says = append(r.says, resize.ReleasePartition{Part: t.Partition, Epoch: t.Epoch}.String())
	}
	r.exec = func() []string {
		results := make([]string, len(tenures))
		for i, t := range tenures {
			out[i] = k.w.store.releaseOf(k.inc, t, numbers(running[i]), alone)
			results[i] = map[job.ReleaseOutcome]string{job.Released: "flipped", job.ReleaseKept: "kept", job.ReleaseFenced: "fenced"}[out[i].Outcome]
		}
		return results
	}
	return out, k.askAll(ctx, &r, len(out))
}

// Unpark implements driver.Reader.
func (k *worker) Unpark(ctx context.Context, asks []job.Unpark) ([]job.UnparkPage, []error) {
	out := make([]job.UnparkPage, len(asks))
	r := openCall{kind: "unpark"}
	for _, a := range asks {
		r.says = append(r.says, fmt.Sprintf("unpark %d %s", a.Tenure.Partition, a.Key))
	}
	r.exec = func() []string {
		results := make([]string, len(asks))
		room := pageSize // of all keys together, as bytes are
		for i, a := range asks {
			out[i] = k.w.store.unpark(k.inc, a.Tenure.Partition, a.Tenure.Epoch, a.Key, min(a.Count, room))
			room -= out[i].Taken
			results[i] = fmt.Sprint(idsOf(out[i].Entries))
		}
		return results
	}
	return out, k.askAll(ctx, &r, len(out))
}

// Skim implements driver.Reader.
func (k *worker) Skim(ctx context.Context, asks []job.Skim) ([]job.SkimPage, []error) {
	out := make([]job.SkimPage, len(asks))
	r := openCall{kind: "skim"}
	for _, a := range asks {
		r.says = append(r.says, fmt.Sprintf("skim %d", a.Tenure.Partition))
	}
	r.exec = func() []string {
		results := make([]string, len(asks))
		for i, a := range asks {
			out[i] = k.w.store.skim(k.inc, a.Tenure.Partition, a.Tenure.Epoch, a.Room, a.Most)
			results[i] = fmt.Sprint(idsOf(out[i].Entries))
		}
		return results
	}
	return out, k.askAll(ctx, &r, len(out))
}

// reading is a read of inbox and partitions that waits.
type reading struct {
	from     *fiber
	parts    []int
	more     []int // what it reads in any case: more is to come back already, and it does not wait
	count    int
	until    time.Time
	got      batchRead
	answered bool
}

// Read implements driver.Reader.
func (k *worker) Read(ctx context.Context, parts []int, count int, block time.Duration) (job.ReadBatch, error) {
	r := &reading{from: ctx.(*fiber), parts: parts, count: min(count, pageSize), until: k.Now().Add(block)}
	if block < 0 {
		r.more = parts
	}
	k.reading = r
	if !r.from.wait() || !r.answered {
		return job.ReadBatch{}, fmt.Errorf("read: %w", job.ErrOutcomeUnknown)
	}
	return k.hears(&r.got)
}

// answerRead ends the read that waits, with new jobs of these partitions and so many messages at
// most. It reports false if none waits, or if it was to bring something and there is nothing.
func (k *worker) answerRead(parts []int, messages int) bool {
	r := k.reading
	if r == nil {
		return false
	}
	some := len(parts) > 0 || messages > 0
	lost := ""
	if k.brings(parts, messages) {
		lost = k.fault("read")
	} else if some && len(r.more) == 0 {
		return false
	}
	if lost != "before" {
		r.got.fill(k.w.store, k.inc, parts, r.count, messages)
	}
	k.reading, k.poked = nil, false
	if r.answered = lost == ""; !r.answered {
		k.w.log("%s: a read -> unknown", k.inc)
	}
	r.from.goOn()
	k.w.goOn()
	return true
}

// brings reports whether a read would find something: it finds that its inbox or a group is gone, too.
func (k *worker) brings(parts []int, messages int) bool {
	s := k.w.store
	if s.members[k.inc] == nil || messages > 0 && len(s.inbox[k.inc]) > 0 {
		return true
	}
	for _, p := range parts {
		if part := s.parts[p]; part.owner.Incarnation != k.inc || part.delivered < len(part.entries) {
			return true
		}
	}
	return false
}

// hears tells what a read brought, and hands it over.
func (k *worker) hears(r *batchRead) (job.ReadBatch, error) {
	for _, m := range r.messages {
		k.w.hears(k, m)
	}
	return r.batch(&k.w.told)
}

// AckControl implements driver.Reader. The messages of an inbox are gone once they are read.
func (k *worker) AckControl(context.Context, []string) error { return nil }

// Heal implements driver.Member. Nobody deletes anything here.
func (k *worker) Heal(context.Context, []int) ([]string, error) { return nil, nil }

// Report implements driver.Member.
func (k *worker) Report(ctx context.Context, _ int, epoch uint64, phase int, _ string) error {
	what := resize.Report{Epoch: epoch, Phase: resize.Phase(phase)}
	return k.ask(ctx, &openCall{kind: "report", says: []string{what.String()}, exec: func() []string {
		return []string{k.w.store.report(k.inc, epoch, what.Phase)}
	}})
}

var outcomes = map[job.Outcome]string{job.Done: "ends", job.HandBack: "hands back", job.Parked: "sets aside"}

// Ack implements driver.Member.
func (k *worker) Ack(ctx context.Context, _ int, batches []job.PartitionAcks) ([][]job.Answer, error) {
	r := openCall{kind: "ack"}
	out := make([][]job.Answer, len(batches))
	for i, b := range batches {
		out[i] = make([]job.Answer, len(b.Completions))
		for _, c := range b.Completions {
			r.says = append(r.says, fmt.Sprintf("%s %d/%d@%d", outcomes[c.Outcome], b.Partition, c.ID.Ms, b.Epoch))
		}
	}
	r.exec = func() []string {
		var results []string
		for i, b := range batches {
			for n, c := range b.Completions {
				answer := k.w.ack(k.inc, b, c)
				out[i][n] = answers[answer]
				results = append(results, answer)
			}
		}
		return results
	}
	err := k.ask(ctx, &r)
	return out, err
}

// readAll ends the read that waits if there is something to read.
func (k *worker) readAll() bool {
	return k.reading != nil && k.brings(k.reading.parts, all) && k.answerRead(k.reading.parts, all)
}
