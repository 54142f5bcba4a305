package streams

import (
	"context"
	"fmt"
	"time"

	"ringmaster/job"
)

// The search for a key's jobs looks at so many entries, or bytes, at a time, during which nobody
// else is served, and does so often at most.
const (
	keyPage  = 200
	keyBytes = 1 << 20
	keyPages = 250
)

// Key tells where a key stands: who owns it, which job is at its head, and what that one
// waits for. It reads the partition's stream and looks at 50,000 entries or 250 MiB at most.
func (in *Inspector) Key(ctx context.Context, queue, key string) (job.KeyView, error) {
	if err := job.CheckKey(key); err != nil {
		return job.KeyView{}, err
	}
	if key == "" {
		return job.KeyView{}, job.Invalid("key is empty: jobs without a key have no order, and no head")
	}
	q, err := in.s.lookup(ctx, queue)
	if err != nil {
		return job.KeyView{}, err
	}
	p := job.PartitionOf(key, q.Partitions)
	v := job.KeyView{Queue: q.Name, Key: key, Partition: p, Owner: "-"}
	var head keyRow
	var now time.Time
	var owner ownerSeen
	from := "-"
	for n := 0; ; n++ {
		if n == keyPages {
			v.More = true
			break
		}
		page, err := run(ctx, in.s, in.s.admin, &in.s.scripts.key, in.s.shardOf(q, p), p, key, from, keyPage, keyBytes)
		if err != nil {
			return job.KeyView{}, err
		}
		if inc, epoch, ok := ownerRecord(page.owner); ok {
			v.Owner, v.Epoch = inc, epoch
		}
		now, owner = page.now, ownerSeen{v.Owner, page.standing}
		for _, row := range page.rows {
			if row.id.Partition = p; v.Head == nil {
				head, v.Head = row, row.head()
			} else {
				v.Waiting++
			}
		}
		if from = page.next; from == "" {
			break
		}
	}
	if owner.standing == noMember {
		v.Owner = "-"
	}
	if v.Head != nil && v.Head.State != job.Running && owner.standing != lives {
		v.Why, err = in.whyUnowned(ctx, q, p, owner)
		return v, err
	}
	v.Why = head.why(v, now)
	return v, nil
}

// behindPage is how many entries a look for the head of a key takes: it is among those held.
const behindPage = 32

// putBehind corrects a job that was taken for running: it waits in the worker's memory if an
// earlier job of its key is open.
func (in *Inspector) putBehind(ctx context.Context, st *job.Status) error {
	if st.State != job.Running || st.Key == "" {
		return nil
	}
	q, err := in.s.queueForRead(ctx, st.Queue)
	if err != nil {
		return err
	}
	from := "-"
	for range keyPages {
		page, err := run(ctx, in.s, in.s.admin, &in.s.scripts.key, in.s.shardOf(q, st.Partition), st.Partition, st.Key, from, behindPage, keyBytes)
		if err != nil {
			return err
		}
		if len(page.rows) > 0 {
			head := job.ID{Partition: st.Partition, Entry: page.rows[0].id.Entry}
			if head.String() != st.ID {
				st.State, st.Attempts = job.Waiting, 0
			}
			return nil
		}
		if from = page.next; from == "" {
			return nil // it has ended meanwhile
		}
	}
	return nil
}

// keyFound is a page of the search for a key's open jobs.
type keyFound struct {
	owner    string // record; "" if there is none
	next     string // where to go on; "": that was all
	now      time.Time
	standing standing // of the owner
	rows     []keyRow
}

func readKeyPage(v any) (keyFound, bool) {
	r := listOf(v)
	a := keyFound{owner: r.text(), next: r.text(), now: r.time().UTC(), standing: r.standing()}
	for r.more() {
		a.rows = append(a.rows, keyRow{id: job.ID{Entry: r.id()}, kind: r.text(), consumer: r.text(), handed: r.flag(), parked: r.flag(), retry: readRetry(r.text())})
	}
	return a, r.whole()
}

// keyRow is one open job of the key.
type keyRow struct {
	id       job.ID // an answer does not say of which partition
	kind     string
	consumer string
	handed   bool
	parked   bool
	retry    job.RetryRecord
}

func (r keyRow) head() *job.KeyHead {
	h := &job.KeyHead{ID: r.id.String(), Type: r.kind, State: job.Waiting, Attempts: r.retry.Attempts, Error: r.retry.Error, EnqueuedAt: r.id.Entry.Time()}
	if r.consumer != "" && r.consumer != reclaim {
		h.State, h.Holder = job.Running, r.consumer
		if inc, _, ok := holder(r.consumer); ok {
			h.Holder = inc
		}
	}
	if r.consumer != "" && r.retry.Attempts > 0 {
		h.State = job.Retrying
		if !r.retry.NotBefore.IsZero() {
			t := r.retry.NotBefore
			h.NotBefore = &t
		}
	}
	if h.State == job.Running {
		h.Attempts++
	}
	return h
}

// why says what the head waits for.
func (r keyRow) why(v job.KeyView, now time.Time) string {
	former, _, permit := holder(r.consumer)
	switch {
	case v.Head == nil && v.More:
		return fmt.Sprintf("no open job of this key among those of partition %d that were looked at, and there are more", v.Partition)
	case v.Head == nil:
		return "no open job of this key"
	case permit:
		return fmt.Sprintf("%s, a former owner of partition %d, still finishes it; %s goes on after it", former, v.Partition, v.Owner)
	case r.consumer == reclaim:
		return fmt.Sprintf("it comes from a former owner; %s takes it over next", v.Owner)
	case r.consumer != "" && r.retry.Attempts > 0 && r.retry.NotBefore.After(now):
		return fmt.Sprintf("attempt %d failed: %s; the next one is due at %s", r.retry.Attempts, r.retry.Error, r.retry.NotBefore.Format(time.RFC3339))
	case r.consumer != "" && r.retry.Attempts > 0:
		return fmt.Sprintf("attempt %d is due or runs at %s", r.retry.Attempts+1, v.Owner)
	case r.consumer != "":
		return fmt.Sprintf("%s runs it, or has it next in line", v.Owner)
	case r.parked:
		return fmt.Sprintf("it was set aside behind a job of its key that failed; %s brings it back", v.Owner)
	default:
		return fmt.Sprintf("%s has not read it yet: it is busy, or holds as many jobs that wait for their next attempt, or for others of their type, as it may, or a resize is under way", v.Owner)
	}
}
