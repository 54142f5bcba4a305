package ledger

import (
	"cmp"
	"strconv"
	"strings"

	"ringmaster/job"
)

// Commit is one entry of a partition's journal. The journal is written in the step that
// ends the job, so the order of its entries is the order in which jobs ended.
type Commit struct {
	Job    job.ID
	Key    string
	Dead   bool   // a dead letter; else completed
	Worker string // incarnation
	Epoch  uint64 // of the partition, under which the run began
}

// Checker judges ledgers and journals. It is fed until a quiet moment, at which no
// process does anything and all that it did was fed; there Settle judges and forgets. It
// holds some hundred bytes for each job since the last quiet moment, for each key, for
// each tenure, and for each submission that never came out; not for jobs that are settled.
// Not safe for concurrent use.
type Checker struct {
	tell      func(Finding)
	report    Report
	forgetful bool
	sinks     bool // effects were seen: each completed job must have one

	files   map[string]*file
	members map[string]string      // process of each incarnation that joined
	subs    map[string]*submission // by token: those that are not resolved
	past    map[string]int         // by producer, the highest number of a resolved token
	jobs    map[job.ID]*jobState   // since the last quiet moment
	keys    map[string]*keyState
	touched []*keyState // keys of these jobs
	floor   map[int]job.EntryID
	tenures map[job.Tenure]holder
	epoch   uint64 // of the ring
	phase   int
}

// NewChecker makes one. tell, if not nil, is called with each anomaly as it is found.
func NewChecker(tell func(Finding)) *Checker {
	return &Checker{tell: tell, files: map[string]*file{}, members: map[string]string{}, subs: map[string]*submission{}, past: map[string]int{},
		jobs: map[job.ID]*jobState{}, keys: map[string]*keyState{}, floor: map[int]job.EntryID{}, tenures: map[job.Tenure]holder{},
		report: NewReport()}
}

// Report is what was found so far. The caller does not change it.
func (c *Checker) Report() *Report { return &c.report }

// Failover announces that the server may have forgotten acknowledged writes since the last
// quiet moment. Up to the next one, what follows from that is counted apart.
func (c *Checker) Failover() { c.forgetful = true }

// file is one life of a process.
type file struct {
	name   string
	next   uint64
	at     int64
	closed bool
	joined bool
	runs   map[uint64]*run // that have not ended
	last   uint64          // number of the last start
	done   bool            // a job of an earlier window came out
	subs   []*submission   // of this window, in order
}

type submission struct {
	token    string
	key      string
	file     *file
	id       job.ID // zero: not known
	accepted bool
	refused  bool
	unknown  bool
}

func (s *submission) answered() bool { return s.accepted || s.refused || s.unknown }

// jobState is a job since the last quiet moment.
type jobState struct {
	id      job.ID
	sub     *submission // that was told of this id
	runs    []*run
	commits []Commit
	effects int
}

// run is one start of a handler.
type run struct {
	job        *jobState
	file       *file
	token      string
	start, end int64 // end 0: none
	good       bool
	epoch      uint64
	fence      uint64
}

// keyState is what is known of a key.
type keyState struct {
	key   string
	last  job.ID // that ended last, and the fence of its run
	fence uint64
	runs  []*run      // since the last quiet moment
	order []*jobState // likewise, as they ended
	seen  bool        // touched since then
}

// holder is who has a tenure.
type holder struct{ incarnation, process string }

func (h holder) String() string { return cmp.Or(h.incarnation, h.process) }

// Bad reports a line that is no record.
func (c *Checker) Bad(process, line string) { c.found(Torn, "%s: %.100q is no record", process, line) }

// Record takes the next record of a process's ledger. A process has one name and one life.
func (c *Checker) Record(process string, r Record) {
	f := c.files[process]
	if f == nil {
		f = &file{name: process, next: 1, runs: map[uint64]*run{}}
		c.files[process] = f
	}
	c.place(f, &r)
	switch r.Kind {
	case Invoke, Accepted, Refused, Unknown:
		c.submission(f, &r)
	case Start:
		c.start(f, &r)
	case End, Fail:
		c.end(f, &r)
	case Effect:
		c.sinks = true
		c.report.FencedEffects++
		c.job(r.Job).effects++
	case Join:
		c.report.Joins++
		f.joined = true
		c.members[r.Worker] = process
	case Phase:
		c.phases(&r)
	case Fault:
		c.report.Faults[r.Note]++
	case Close:
		f.closed = true
		c.closed(f)
	case Open, Kept:
	default:
		c.found(Torn, "%s: record %d of unknown kind %q", process, r.Seq, r.Kind)
	}
}

// place: the records of a file are numbered without a gap, in the order of their times,
// from Open to Close.
func (c *Checker) place(f *file, r *Record) {
	switch {
	case r.Seq != f.next:
		c.found(Gap, "%s: record %d where %d should be", f.name, r.Seq, f.next)
	case r.At < f.at:
		c.found(Gap, "%s: record %d is older than the one before it", f.name, r.Seq)
	case (r.Kind == Open) != (r.Seq == 1):
		c.found(Gap, "%s: record %d is %s", f.name, r.Seq, r.Kind)
	case f.closed:
		c.found(Gap, "%s: record %d after the last", f.name, r.Seq)
	}
	f.next, f.at = r.Seq+1, r.At
}

// closed: a process that ended in its own time has been answered, and its handlers ended.
func (c *Checker) closed(f *file) {
	for _, s := range f.subs {
		if !s.answered() {
			c.found(Gap, "%s ended, and %s has no outcome", f.name, s.token)
		}
	}
}

func (c *Checker) submission(f *file, r *Record) {
	s := c.subs[r.Token]
	if r.Kind == Invoke {
		if s != nil {
			c.found(Gap, "%s: %s was handed in twice", f.name, r.Token)
			return
		}
		s = &submission{token: r.Token, key: r.Key, file: f}
		c.subs[r.Token] = s
		f.subs = append(f.subs, s)
		c.report.Submitted++
		return
	}
	switch {
	case s == nil || s.file != f:
		c.found(Gap, "%s: %s has an outcome, and was not handed in", f.name, r.Token)
		return
	case s.answered():
		c.found(Gap, "%s: %s has two outcomes", f.name, r.Token)
		return
	}
	switch r.Kind {
	case Refused:
		s.refused = true
		c.report.Refused++
	case Unknown:
		s.unknown = true
		c.report.Unknown++
	default:
		s.accepted, s.id = true, r.Job
		c.report.Accepted++
		j := c.job(r.Job)
		if j.sub != nil {
			c.found(Lost, "job %s is both %s and %s", r.Job, s.token, j.sub.token)
			return
		}
		j.sub = s
	}
}

func (c *Checker) job(id job.ID) *jobState {
	j := c.jobs[id]
	if j == nil {
		j = &jobState{id: id}
		c.jobs[id] = j
	}
	return j
}

func (c *Checker) key(key string) *keyState {
	k := c.keys[key]
	if k == nil {
		k = &keyState{key: key}
		c.keys[key] = k
	}
	if !k.seen {
		k.seen = true
		c.touched = append(c.touched, k)
	}
	return k
}

func (c *Checker) start(f *file, r *Record) {
	c.report.Runs++
	j := c.job(r.Job)
	x := &run{job: j, file: f, token: r.Token, start: r.At, epoch: r.Epoch, fence: r.Fence}
	switch {
	case r.Run <= f.last:
		c.found(Gap, "%s: run %d started twice", f.name, r.Run)
	case !f.joined:
		c.found(Gap, "%s started job %s and was no member", f.name, r.Job)
	}
	f.last = max(f.last, r.Run)
	f.runs[r.Run] = x
	j.runs = append(j.runs, x)
	if r.Key != "" {
		k := c.key(r.Key)
		k.runs = append(k.runs, x)
	}
	c.tenure(job.Tenure{Partition: r.Job.Partition, Epoch: r.Epoch}, holder{process: f.name})
}

func (c *Checker) end(f *file, r *Record) {
	x := f.runs[r.Run]
	if x == nil {
		c.found(Gap, "%s: run %d ended, and had not started", f.name, r.Run)
		return
	}
	delete(f.runs, r.Run)
	x.end, x.good = r.At, r.Kind == End
	if x.good {
		c.report.Effects++
	}
}

// tenure: one incarnation of one process. A run tells the process, the journal the incarnation.
func (c *Checker) tenure(t job.Tenure, by holder) {
	have := c.tenures[t]
	differ := func(a, b string) bool { return a != "" && b != "" && a != b }
	if differ(have.process, by.process) || differ(have.incarnation, by.incarnation) {
		c.found(Reuse, "partition %d, epoch %d: both of %s and of %s", t.Partition, t.Epoch, have, by)
		return
	}
	if have.process == "" && by.process != "" || have.incarnation == "" && by.incarnation != "" {
		c.tenures[t] = holder{cmp.Or(have.incarnation, by.incarnation), cmp.Or(have.process, by.process)}
	}
}

// phases: the epochs of the ring do not fall, nor within one the phases.
func (c *Checker) phases(r *Record) {
	c.report.Phases++
	switch {
	case r.Epoch < c.epoch:
		c.found(PhaseOrder, "phase %d of ring epoch %d after one of %d", r.Attempt, r.Epoch, c.epoch)
	case r.Epoch == c.epoch && r.Attempt < c.phase:
		c.found(PhaseOrder, "phase %d of ring epoch %d after phase %d", r.Attempt, r.Epoch, c.phase)
	}
	c.epoch, c.phase = r.Epoch, r.Attempt
	c.report.Epoch = max(c.report.Epoch, r.Epoch)
}

// Commit takes the next entry of a partition's journal. The ledgers up to the same moment
// were given before.
func (c *Checker) Commit(e Commit) {
	c.tenure(job.Tenure{Partition: e.Job.Partition, Epoch: e.Epoch}, holder{e.Worker, c.members[e.Worker]})
	j := c.job(e.Job)
	j.commits = append(j.commits, e)
	if e.Key != "" {
		k := c.key(e.Key)
		k.order = append(k.order, j)
	}
}

// producer splits a token.
func producer(token string) (name string, n int) {
	i := strings.LastIndexByte(token, '-')
	if i < 0 {
		return "", 0
	}
	n, _ = strconv.Atoi(token[i+1:])
	return token[:i], n
}
