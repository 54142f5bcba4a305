package ledger

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"ringmaster/job"
)

// script feeds a checker from lines such as those of testdata/ledgers.txt. Time goes on
// by one second with each line.
type script struct {
	t     *testing.T
	c     *Checker
	now   int64
	seq   map[string]uint64
	runs  map[string]uint64 // process and job -> run
	last  func()
	found []Finding
}

func newScript(t *testing.T) *script {
	s := &script{t: t, seq: map[string]uint64{}, runs: map[string]uint64{}}
	s.c = NewChecker(func(f Finding) { s.found = append(s.found, f) })
	return s
}

func (s *script) record(process string, r Record) {
	if s.seq[process] == 0 {
		s.put(process, Record{Kind: Open})
		if strings.HasPrefix(process, "w") {
			s.put(process, Record{Kind: Join, Worker: process + ".1"})
		}
	}
	s.put(process, r)
}

func (s *script) put(process string, r Record) {
	s.seq[process]++
	r.Seq, r.At = s.seq[process], s.now
	if r.Kind == Start {
		r.Run = r.Seq
		s.runs[process+r.Job.String()] = r.Run
	}
	s.c.Record(process, r)
	s.last = func() { s.put(process, r) }
}

func (s *script) number(v string) uint64 {
	n, err := strconv.ParseUint(strings.TrimLeft(v, "ef"), 10, 64)
	if err != nil {
		s.t.Fatalf("number %q: %v", v, err)
	}
	return n
}

// key is a field; "-" is no key.
func key(v string) string { return strings.TrimPrefix(v, "-") }

func (s *script) id(v string) job.ID {
	id, err := job.ParseID(v)
	if err != nil {
		s.t.Fatal(err)
	}
	return id
}

func (s *script) line(text string) {
	s.now += 1e9
	f := strings.Fields(text)
	switch f[0] {
	case "quiet", "busy":
		s.c.Settle(f[0] == "quiet")
	case "failover":
		s.c.Failover()
	case "again": // the last record, once more
		s.last()
	case "skip": // a record that is not there
		s.seq[f[1]]++
	case "back": // a clock that goes back
		s.now -= 10e9
	case "garbage":
		s.c.Bad(f[1], strings.Join(f[2:], " "))
	case "phase":
		s.record("r", Record{Kind: Phase, Epoch: s.number(f[1]), Attempt: int(s.number(f[2]))})
	case "commit", "dead":
		s.c.Commit(Commit{Job: s.id(f[1]), Key: key(f[2]), Worker: f[3], Epoch: s.number(f[4]), Dead: f[0] == "dead"})
	default:
		s.verb(f[0], f[1], f[2:])
	}
}

func (s *script) verb(process, kind string, f []string) {
	r := Record{Kind: Kind(kind)}
	switch r.Kind {
	case Invoke:
		r.Token, r.Key = f[0], key(f[1])
	case Accepted:
		r.Token, r.Job = f[0], s.id(f[1])
	case Refused, Unknown:
		r.Token = f[0]
	case Start: // epochs and fences are the same number, unless a fence follows
		r.Job, r.Key, r.Token, r.Epoch = s.id(f[0]), key(f[1]), f[2], s.number(f[3])
		r.Fence = r.Epoch
		if len(f) > 4 {
			r.Fence = s.number(f[4])
		}
	case End, Fail:
		r.Run = s.runs[process+f[0]]
	case Effect:
		r.Job, r.Key, r.Fence = s.id(f[0]), key(f[1]), s.number(f[2])
	case Join:
		r.Worker = f[0]
	case Close:
	default:
		s.t.Fatalf("no verb %q", kind)
	}
	s.record(process, r)
}

// verdict is what was found: kinds with their counts, and what a failover explains.
func (s *script) verdict() string {
	var out []string
	for _, m := range []struct {
		prefix string
		counts map[string]int
	}{{"", s.c.Report().Anomalies}, {"rolled-back ", s.c.Report().RolledBack}} {
		for _, k := range slices.Sorted(maps.Keys(m.counts)) {
			out = append(out, fmt.Sprintf("%s%s=%d", m.prefix, k, m.counts[k]))
		}
	}
	if len(out) == 0 {
		return "good"
	}
	return strings.Join(out, " ")
}

// TestLedgers: small ledgers made by hand, each with what must be found in it and nothing
// else. About half of them are near misses that must pass.
func TestLedgers(t *testing.T) {
	raw, err := os.ReadFile("testdata/ledgers.txt")
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]bool{}
	for section := range strings.SplitSeq(string(raw), "\n== ") {
		name, body, _ := strings.Cut(section, "\n")
		if strings.HasPrefix(name, "#") {
			continue
		}
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			s := newScript(t)
			want := ""
			for line := range strings.Lines(body) {
				line, _, _ = strings.Cut(strings.TrimSpace(line), " #")
				switch {
				case strings.HasPrefix(line, "-> "):
					want = strings.TrimPrefix(line, "-> ")
				case line != "":
					s.line(line)
				}
			}
			if got := s.verdict(); got != want {
				t.Errorf("found %s, want %s\n%v", got, want, s.found)
			}
			for k := range s.c.Report().Anomalies {
				kinds[k] = true
			}
		})
	}
	for _, k := range []string{Gap, Torn, Lost, Unfinished, Unexpected, Doubled, Aborted, Unrun, OutOfOrder, Overlap, Reuse, FenceFell, PhaseOrder, EffectOnce} {
		if !kinds[k] {
			t.Errorf("no ledger of %s", k)
		}
	}
}
