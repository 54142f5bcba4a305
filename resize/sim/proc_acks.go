package sim

import (
	"context"
	"fmt"
	"slices"

	"ringmaster/consumergroup/lanes"
	"ringmaster/job"
	"ringmaster/resize"
)

// The calls of the driver's acks, answered by the model of the store: driver.Member.

// Report implements driver.Member.
func (k *limb) Report(ctx context.Context, _ int, epoch uint64, phase int, _ string) error {
	e, inc := k.e, k.inc
	return k.tell(ctx, &call{conn: k.acks, what: "report", exec: func() {
		before := k.store().phase
		k.store().report(inc, epoch, resize.Phase(phase))
		e.audit.cut(e, k.store(), before)
	}})
}

// Heal implements driver.Member. Nobody deletes anything here.
func (k *limb) Heal(ctx context.Context, _ []int) ([]string, error) {
	return nil, k.tell(ctx, &call{conn: k.acks, what: "heal", exec: func() {}})
}

// ended is a run whose end waits for the store's answer.
type ended struct {
	it *lanes.Item
	c  job.Completion
}

// Ack implements driver.Member.
func (k *limb) Ack(ctx context.Context, _ int, batches []job.PartitionAcks) ([][]job.Answer, error) {
	e, inc := k.e, k.inc
	number := 0
	if slices.ContainsFunc(batches, holdsBack) {
		k.calls++
		number = k.calls
	}
	all, answers := make([][]ended, len(batches)), make([][]job.Answer, len(batches))
	for i := range batches {
		all[i], answers[i] = k.endsOf(&batches[i]), make([]job.Answer, len(batches[i].Completions))
	}
	err := k.tell(ctx, &call{conn: k.acks, what: "ack", exec: func() {
		if k.store().late(inc, number) {
			return // nobody waits for it any more
		}
		for i, b := range batches {
			for n, f := range all[i] {
				answers[i][n] = e.audit.end(e, k, inc, f, k.epochOf(b), b.Untrimmed)
			}
		}
	}})
	if err != nil && e.bug != BugUnansweredFrees {
		return nil, err
	}
	for i := range answers {
		for n, a := range answers[i] {
			answers[i][n] = k.noted(all[i][n], a, err == nil)
		}
	}
	return answers, nil
}

// holdsBack reports whether jobs are to stay.
func holdsBack(b job.PartitionAcks) bool {
	return slices.ContainsFunc(b.Completions, func(c job.Completion) bool {
		return c.Outcome == job.Parked || c.Outcome == job.Failed || c.Outcome == job.HandBack
	})
}

// endsOf are the ends of one partition with what is known here of their runs.
func (k *limb) endsOf(b *job.PartitionAcks) []ended {
	out := make([]ended, len(b.Completions))
	for i, c := range b.Completions {
		for it, end := range k.d.Endings() {
			if t := it.Tenure; t.Partition == b.Partition && t.Epoch == b.Epoch && it.Entry.ID == c.ID && end.Outcome == c.Outcome {
				out[i] = ended{it, c}
			}
		}
		if out[i].it == nil {
			k.e.fail("%s ends %d/%v, of which the driver knows nothing", k.inc, b.Partition, c.ID)
			return nil
		}
	}
	return out
}

func (k *limb) epochOf(b job.PartitionAcks) uint64 {
	if t := k.lanes.At(b.Partition); t != nil && k.e.bug == BugEpochIgnored {
		return t.Epoch
	}
	return b.Epoch
}

// noted is the store's answer to one end, as the driver gets it.
func (k *limb) noted(f ended, a job.Answer, known bool) job.Answer {
	if !known {
		return job.NotPending // by a bug
	}
	if a != job.Refused && a != job.Gone && a != job.ByDrainer {
		return a
	}
	n := k.of(f.it.Tenure)
	n.refused = append(n.refused, f.it.Entry.Key)
	if k.e.bug != BugRefusedFrees {
		return a
	}
	k.d.Post(resize.PartitionFenced{Part: f.it.Tenure.Partition, Epoch: f.it.Tenure.Epoch})
	return job.NotPending
}

// String tells of a limb what a failure should show.
func (k *limb) String() string {
	return fmt.Sprintf("%s/%d %v runs=%d", k.name, k.number, k.d, k.pool.Runs())
}
