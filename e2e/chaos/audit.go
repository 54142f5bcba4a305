package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"ringmaster/job"
)

// auditor compares what producers were told, what handlers did and what the journal says
// was completed. It reads what is new at every check.
type auditor struct {
	r       *Rig
	offsets map[string]int64
	after   []string // last entry read, by partition

	tokens  map[string]*submission
	owners  map[string]*submission // by job id
	runs    map[string][]run       // by job id, in order of reading
	commits map[string][]commit    // by job id
	order   map[string][]string    // key -> ids in order of commit
	told    map[string]bool        // findings are told once
}

type submission struct {
	token, key, id    string
	unknown, refused  bool
	accepted, invoked bool
}

type run struct {
	at, end time.Time // end zero: none was written down
	good    bool
	fence   uint64
	epoch   string
	worker  string
	token   string
}

type commit struct {
	outcome string
	worker  string // incarnation
	epoch   string
}

func newAuditor(r *Rig) *auditor {
	return &auditor{r: r, offsets: map[string]int64{}, after: make([]string, r.Queue.Partitions), tokens: map[string]*submission{},
		owners: map[string]*submission{}, runs: map[string][]run{}, commits: map[string][]commit{}, order: map[string][]string{}, told: map[string]bool{}}
}

// found notes an anomaly.
func (a *auditor) found(kind, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !a.told[kind+text] {
		a.told[kind+text] = true
		a.r.run.anomaly(kind, text)
	}
}

// check reads on and judges everything. All jobs must be done.
func (a *auditor) check(ctx context.Context) error {
	files, err := filepath.Glob(filepath.Join(a.r.Dir, "*.ledger"))
	if err != nil {
		return fmt.Errorf("find ledgers: %w", err)
	}
	for _, f := range files {
		if err := a.read(f); err != nil {
			return err
		}
	}
	if err := a.journal(ctx); err != nil {
		return err
	}
	a.judge()
	return nil
}

func (a *auditor) read(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("read ledger: %w", err)
	}
	defer f.Close()
	if _, err := f.Seek(a.offsets[path], io.SeekStart); err != nil {
		return fmt.Errorf("read ledger: %w", err)
	}
	in := bufio.NewReaderSize(f, 1<<20)
	for {
		line, err := in.ReadString('\n')
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read ledger %s: %w", path, err)
		}
		a.offsets[path] += int64(len(line))
		if !a.line(strings.Split(strings.TrimSuffix(line, "\n"), "\t")) {
			a.found("ledger", "%s has a line that is none: %q", path, line)
		}
	}
}

func (a *auditor) line(f []string) bool {
	if len(f) < 3 {
		return false
	}
	ns, err := strconv.ParseInt(f[1], 10, 64)
	if err != nil {
		return false
	}
	at := time.Unix(0, ns)
	switch verb := f[0]; verb {
	case "fault", "join":
		return true
	case "invoke", "unknown", "refused", "accepted":
		s := a.tokens[f[2]]
		if s == nil {
			s = &submission{token: f[2], key: f[3]}
			a.tokens[f[2]] = s
		}
		switch verb {
		case "invoke":
			s.invoked = true
		case "unknown":
			s.unknown = true
		case "refused":
			s.refused = true
		default:
			s.accepted, s.id = true, f[4]
			a.owners[f[4]] = s
		}
	case "start":
		fence, err := strconv.ParseUint(f[5], 10, 64)
		if err != nil || len(f) != 8 {
			return false
		}
		a.runs[f[2]] = append(a.runs[f[2]], run{at: at, fence: fence, epoch: f[6], worker: f[7], token: f[4]})
	case "end", "failed":
		rs := a.runs[f[2]]
		for i := len(rs) - 1; i >= 0; i-- {
			if rs[i].worker == f[7] && rs[i].end.IsZero() {
				rs[i].end, rs[i].good = at, verb == "end"
				return true
			}
		}
		return false
	default:
		return false
	}
	return true
}

func (a *auditor) journal(ctx context.Context) error {
	for p := range a.after {
		for {
			page, err := a.r.Store.Journal(ctx, queueName, p, a.after[p], 1000)
			if err != nil {
				return fmt.Errorf("read journal: %w", err)
			}
			for _, e := range page {
				a.after[p] = e.ID
				a.commits[e.JobID] = append(a.commits[e.JobID], commit{string(e.Outcome), e.Worker, fmt.Sprint(e.Epoch)})
				if e.Key != "" {
					a.order[e.Key] = append(a.order[e.Key], e.JobID)
				}
			}
			if len(page) < 1000 {
				break
			}
		}
	}
	return nil
}

func (a *auditor) judge() {
	for _, s := range a.tokens {
		switch {
		case s.accepted && len(a.commits[s.id]) == 0:
			a.found("lost", "job %s of %s has no end", s.id, s.token)
		case s.invoked && !s.accepted && !s.unknown && !s.refused:
			// Its producer was killed or still waits: as good as unknown.
			s.unknown = true
		}
	}
	for id, cs := range a.commits {
		if len(cs) > 1 {
			a.found("doubled", "job %s ended %d times", id, len(cs))
		}
		if a.owners[id] != nil {
			continue
		}
		rs := a.runs[id]
		if len(rs) == 0 {
			a.found("unexpected", "job %s was submitted by nobody", id)
			continue
		}
		s := a.tokens[rs[0].token]
		switch {
		case s == nil:
			a.found("unexpected", "job %s of %q was submitted by nobody", id, rs[0].token)
		case s.accepted && s.id != id:
			a.found("doubled", "job %s and %s are both of %s", id, s.id, s.token)
		case s.refused:
			a.found("aborted", "job %s of %s was refused, and ran", id, s.token)
		default:
			s.id = id
			a.owners[id] = s
		}
	}
	for key, ids := range a.order {
		a.inOrder(key, ids)
	}
}

// inOrder: the jobs of a key ended in the order of their ids, and none started before the
// one before it had ended.
func (a *auditor) inOrder(key string, ids []string) {
	for i := 1; i < len(ids); i++ {
		before, err1 := job.ParseID(ids[i-1])
		after, err2 := job.ParseID(ids[i])
		if err1 != nil || err2 != nil || !before.Entry.Less(after.Entry) {
			a.found("disorder", "key %s: job %s ended after %s", key, ids[i], ids[i-1])
			continue
		}
		rs, next := a.runs[ids[i-1]], a.runs[ids[i]]
		if len(next) == 0 {
			continue
		}
		first := next[0]
		for _, r := range next[1:] {
			if r.at.Before(first.at) {
				first = r
			}
		}
		c := a.commits[ids[i-1]][0]
		name, _, _ := strings.Cut(c.worker, ".")
		for _, r := range rs {
			if r.worker == name && r.epoch == c.epoch && r.good && first.at.Before(r.end) && c.outcome == "C" && r.last(rs) {
				a.found("overlap", "key %s: job %s started %v before %s ended", key, ids[i], r.end.Sub(first.at), ids[i-1])
			}
			if r.at.After(first.at) && r.fence >= first.fence {
				a.found("disorder", "key %s: job %s started again after the later %s", key, ids[i-1], ids[i])
			}
		}
	}
	if n := len(ids); n > 0 {
		a.order[key] = ids[n-1:]
	}
}

// last reports whether no other run of the same tenure ended later.
func (r run) last(rs []run) bool {
	for _, o := range rs {
		if o.worker == r.worker && o.epoch == r.epoch && o.good && o.end.After(r.end) {
			return false
		}
	}
	return true
}
