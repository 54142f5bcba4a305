package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"ringmaster/internal/doctor"
	"ringmaster/internal/ledger"
	"ringmaster/job"
	"ringmaster/streams"
)

// auditor gives a checker what the ledgers, the journal and the control stream got since
// the last quiet moment.
type auditor struct {
	r       *Rig
	checker *ledger.Checker
	tails   map[string]*ledger.Tail // by path
	after   []string                // last entry read of the journal, by partition
	control *streams.Subscriber
	told    map[string]bool // findings of the rig itself are told once
	planned uint64          // the highest ring epoch that had a plan
	forgot  bool            // the journal may have lost entries too
	resizes int             // plans; ring epochs do not tell, since a failover raises them further
}

func newAuditor(r *Rig) *auditor {
	a := &auditor{r: r, tails: map[string]*ledger.Tail{}, after: make([]string, r.Queue.Partitions),
		control: streams.NewSubscriber(r.Store, r.Queue, streams.FromStart), told: map[string]bool{}}
	a.checker = ledger.NewChecker(func(f ledger.Finding) { r.run.anomaly(f.Kind, f.Text) })
	return a
}

func (a *auditor) close() { _ = a.control.Close() }

// found notes an anomaly that is not the checker's.
func (a *auditor) found(kind, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !a.told[kind+text] {
		a.told[kind+text] = true
		a.r.run.anomaly(kind, text)
	}
}

// Forgets announces that the server may have lost acknowledged writes since the last quiet
// moment: what follows from that is counted apart, up to the next.
func (r *Rig) Forgets() {
	r.audit.checker.Failover()
	r.audit.forgot = true
}

// check reads on and judges everything. Nothing may be under way; idle says that all jobs
// are done.
func (a *auditor) check(ctx context.Context, idle bool) error {
	if err := a.phases(ctx); err != nil {
		return err
	}
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
	a.checker.Settle(idle)
	return a.verify(ctx, idle)
}

// verify asks the product's own audit, which must agree, also while everything is at work.
func (a *auditor) verify(ctx context.Context, idle bool) error {
	if a.forgot {
		return nil
	}
	v, err := doctor.Verify(ctx, a.r.Store, queueName)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	if v.Lost+v.CompletedTwice+v.OutOfOrder > 0 || (idle && v.Open > 0) {
		a.found("verify", "the queue's own audit says %+v", v)
	}
	return nil
}

func (a *auditor) read(path string) error {
	t := a.tails[path]
	if t == nil {
		t = ledger.NewTail(path)
		a.tails[path] = t
	}
	process := strings.TrimSuffix(filepath.Base(path), ".ledger")
	torn, err := t.Read(func(r ledger.Record) { a.checker.Record(process, r) },
		func(line string, _ error) { a.checker.Bad(process, line) })
	if torn && err == nil && !a.lives(path) {
		a.found(ledger.Torn, "%s: the last line is torn", process)
	}
	return err
}

func (a *auditor) lives(path string) bool {
	for _, p := range a.r.procs {
		if p.Ledger == path {
			return p.Alive()
		}
	}
	return true // of this process
}

func (a *auditor) journal(ctx context.Context) error {
	const page = 1000
	for p := range a.after {
		for more := true; more; {
			entries, err := a.r.Store.Inspect().Journal(ctx, queueName, p, a.after[p], page)
			if err != nil {
				return fmt.Errorf("read journal: %w", err)
			}
			for _, e := range entries {
				a.after[p] = e.ID
				id, err := job.ParseID(e.JobID)
				if err != nil || id.Partition != p {
					a.found("journal", "the journal of partition %d has a record of job %q", p, e.JobID)
					continue
				}
				a.checker.Commit(ledger.Commit{Job: id, Key: e.Key, Dead: e.Outcome == job.Buried, Worker: e.Worker, Epoch: e.Epoch})
			}
			more = len(entries) == page
		}
	}
	return nil
}

// phases writes into this process's ledger what the control stream says of resizes.
func (a *auditor) phases(ctx context.Context) error {
	for {
		call, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		entries, err := a.control.Next(call)
		ended := call.Err() != nil
		cancel()
		if err != nil && !ended && !errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("read control stream: %w", err)
		}
		if len(entries) == 0 {
			return ctx.Err()
		}
		for _, e := range entries {
			if e.Fields["type"] != "sync" || e.Fields["name"] != "Master" {
				continue
			}
			epoch, err1 := strconv.ParseUint(e.Fields["epoch"], 10, 64)
			phase, err2 := strconv.Atoi(e.Fields["phase"])
			if err1 == nil && err2 == nil { // rubbish that a row wrote is none of it
				if phase == 1 && epoch > a.planned {
					a.planned = epoch
					a.resizes++
				}
				a.r.book.w.Write(ledger.Record{Kind: ledger.Phase, Epoch: epoch, Attempt: phase, Note: e.ID})
			}
		}
	}
}

// lastStart is when a worker last started a job, as its ledger says.
func (r *Rig) lastStart(p *Proc) time.Time {
	var last time.Time
	_, err := ledger.NewTail(p.Ledger).Read(func(rec ledger.Record) {
		if rec.Kind == ledger.Start {
			last = rec.Time()
		}
	}, func(string, error) {})
	if err != nil {
		return time.Time{}
	}
	return last
}
