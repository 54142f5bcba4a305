package doctor

import (
	"fmt"
	"slices"

	"ringmaster/job"
)

// ended is one record of a partition's journal. The journal is written in the step that
// ends the job, so the order of its records is the order in which jobs ended.
type ended struct {
	JobID   string
	Key     string
	Outcome job.Outcome
	Worker  string // incarnation
	Epoch   uint64 // of the partition
}

// AuditResult is what an audit of a journal found. It counts events: a job that completed
// three times is two repeats.
type AuditResult struct {
	Lost           int `json:"lost"`            // jobs that were accepted, have no end in the journal, and are not open
	CompletedTwice int `json:"completed_twice"` // ends beyond the first of a job
	OutOfOrder     int `json:"out_of_order"`    // ends of a key's job after that of a later one
	Open           int `json:"open"`            // jobs that wait or run
	// Uncounted partitions know of more jobs than their streams count: a stream was deleted,
	// or records were written by hand. Lost jobs cannot be counted there.
	Uncounted int `json:"-"`
	// Examples of what is wrong, at most ten, in words.
	Examples []string `json:"-"`
}

// Good reports that nothing is wrong. Open jobs are not wrong.
func (v AuditResult) Good() bool {
	return v.Lost == 0 && v.CompletedTwice == 0 && v.OutOfOrder == 0 && v.Uncounted == 0
}

// audit judges one partition. Feed it the open jobs first and then the whole journal, both
// read after the moment at which the stream had got `added` entries, the last of them top:
// then a job that ends meanwhile is in one or the other. It holds 16 bytes for each ended
// job of the partition, 24 for each open one, and each key once. Not safe for concurrent use.
type audit struct {
	partition int
	top       job.EntryID
	added     int64
	open      []openJob
	ended     []job.EntryID
	keys      map[string]int // to highest, from 1
	highest   []highest
	v         AuditResult
}

type openJob struct {
	id  job.EntryID
	key int // 0: none
}

// highest is, of a key, the last job that has ended.
type highest struct {
	id     job.EntryID
	worker string
}

// newAudit begins the audit of a partition. added is how many jobs its stream ever got,
// up to top; -1 if nobody has counted: then lost jobs cannot be found.
func newAudit(partition int, top job.EntryID, added int64) *audit {
	return &audit{partition: partition, top: top, added: added, keys: map[string]int{}, highest: []highest{{}}}
}

// Open adds a job that had not ended when it was looked at.
func (a *audit) Open(id job.EntryID, key string) { a.open = append(a.open, openJob{id, a.key(key)}) }

// key is a small number for a key, so that each is kept once.
func (a *audit) key(name string) int {
	if name == "" {
		return 0
	}
	n, seen := a.keys[name]
	if !seen {
		n = len(a.highest)
		a.keys[name] = n
		a.highest = append(a.highest, highest{})
	}
	return n
}

// Ended adds the next record of the journal. A record that is not of this partition is
// an example of what is wrong, and counts as an end beyond the first.
func (a *audit) Ended(e ended) {
	if e.Outcome != job.Done && e.Outcome != job.Buried {
		return
	}
	id, err := job.ParseID(e.JobID)
	if err != nil || id.Partition != a.partition {
		a.wrong(&a.v.CompletedTwice, "the journal of partition %d has a record of job %q", a.partition, e.JobID)
		return
	}
	a.ended = append(a.ended, id.Entry)
	k := a.key(e.Key)
	if k == 0 {
		return
	}
	last := &a.highest[k]
	switch {
	case last.id.Less(id.Entry):
		*last = highest{id.Entry, e.Worker}
	case id.Entry.Less(last.id):
		later := job.ID{Partition: a.partition, Entry: last.id}
		a.wrong(&a.v.OutOfOrder, "key %q: job %s ended after the later job %s, at %s", e.Key, e.JobID, later, e.Worker)
	}
}

func (a *audit) wrong(counter *int, format string, args ...any) {
	*counter++
	if len(a.v.Examples) < maxExamples {
		a.v.Examples = append(a.v.Examples, fmt.Sprintf(format, args...))
	}
}

const maxExamples = 10

// Result ends the audit.
func (a *audit) Result() AuditResult {
	slices.SortFunc(a.ended, job.EntryID.Compare)
	distinct := int64(0)
	for i, id := range a.ended {
		if i > 0 && id == a.ended[i-1] {
			a.wrong(&a.v.CompletedTwice, "job %s ended more than once", job.ID{Partition: a.partition, Entry: id})
			continue
		}
		if !a.top.Less(id) {
			distinct++
		}
	}
	a.judgeOpen()
	if a.added >= 0 {
		missing := a.added - distinct - int64(a.v.Open)
		if missing > 0 {
			a.v.Lost = int(missing)
			a.example("partition %d: %d of %d jobs neither ended nor are open", a.partition, missing, a.added)
		}
		if missing < 0 {
			a.v.Uncounted++
			a.example("partition %d: its stream was deleted, or written by hand: it counts %d jobs, the journal and the stream know %d", a.partition, a.added, a.added-missing)
		}
	}
	return a.v
}

// judgeOpen counts what is still open, and finds keys that went on without their first job:
// the journal was read after the look, so a later job's end in it came before this one's.
func (a *audit) judgeOpen() {
	slices.SortFunc(a.open, func(x, y openJob) int { return x.id.Compare(y.id) })
	a.open = slices.CompactFunc(a.open, func(x, y openJob) bool { return x.id == y.id })
	for _, o := range a.open {
		if _, found := slices.BinarySearchFunc(a.ended, o.id, job.EntryID.Compare); found {
			continue
		}
		a.v.Open++
		if later := a.highest[o.key]; o.key != 0 && o.id.Less(later.id) {
			a.wrong(&a.v.OutOfOrder, "job %s is open, and the later job %s of its key ended, at %s",
				job.ID{Partition: a.partition, Entry: o.id}, job.ID{Partition: a.partition, Entry: later.id}, later.worker)
		}
	}
}

func (a *audit) example(format string, args ...any) {
	ignored := 0
	a.wrong(&ignored, format, args...)
}

// Add sums the verdicts of partitions.
func (v *AuditResult) Add(o AuditResult) {
	v.Lost += o.Lost
	v.CompletedTwice += o.CompletedTwice
	v.OutOfOrder += o.OutOfOrder
	v.Open += o.Open
	v.Uncounted += o.Uncounted
	v.Examples = append(v.Examples, o.Examples...)
	v.Examples = v.Examples[:min(len(v.Examples), maxExamples)]
}
