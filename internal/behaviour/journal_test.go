package behaviour

import (
	"fmt"

	"ringmaster/job"
	"ringmaster/streams"
)

// journal is every end of a job that the store has accepted, in order of each partition.
func (r *rig) journal() []streams.JournalEntry {
	r.t.Helper()
	var all []streams.JournalEntry
	for p := range r.queue.Partitions {
		for after := ""; ; {
			page, err := r.store.Inspect().Journal(r.ctx, r.queue.Name, p, after, 500)
			if err != nil {
				r.t.Fatal(err)
			}
			all = append(all, page...)
			if len(page) < 500 {
				break
			}
			after = page[len(page)-1].ID
		}
	}
	return all
}

// ended is the number of ends in the journal.
func (r *rig) ended() int {
	n := 0
	for p := range r.queue.Partitions {
		n += int(r.raw.XLen(r.ctx, r.key("journal:"+itoa(p))).Val())
	}
	return n
}

// endedOnce checks that each of these jobs has completed exactly once, each of those has
// died exactly once, and that nothing else has ended.
func (r *rig) endedOnce(completed, died []string) {
	r.t.Helper()
	got := map[string]int{}
	for _, e := range r.journal() {
		got[fmt.Sprintf("%s %c", e.JobID, e.Outcome)]++
	}
	for outcome, ids := range map[job.Outcome][]string{job.Done: completed, job.Buried: died} {
		for _, id := range ids {
			k := fmt.Sprintf("%s %c", id, outcome)
			if got[k] != 1 {
				r.t.Errorf("job %s ended %d times with outcome %c", id, got[k], outcome)
			}
			delete(got, k)
		}
	}
	if len(got) > 0 {
		r.t.Errorf("also ended: %v", got)
	}
}
