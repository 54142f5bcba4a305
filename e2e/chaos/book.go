package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"

	"ringmaster/internal/ledger"
	"ringmaster/job"
)

// book is the ledger of one process, in the words of this program.
type book struct {
	w    *ledger.Writer
	sink string
	inc  atomic.Value // string: a worker's incarnation
}

func openBook(r Role) (*book, error) {
	w, err := ledger.Create(r.Ledger, r.Kind)
	if err != nil {
		return nil, err
	}
	b := &book{w: w, sink: sinkPath(r.Dir)}
	b.inc.Store("")
	return b, nil
}

// A ledger that could not be written has a gap, which the audit finds.
func (b *book) close() { _ = b.w.Close() }

func (b *book) joined(inc string) {
	b.inc.Store(inc)
	b.w.Write(ledger.Record{Kind: ledger.Join, Worker: inc})
}

// started returns the number of the run, for finished.
func (b *book) started(d job.Delivery, w Work) uint64 {
	inc, _ := b.inc.Load().(string)
	return b.w.Write(ledger.Record{Kind: ledger.Start, Job: d.ID, Key: d.Key, Token: w.Token, Worker: inc, Epoch: d.Epoch, Fence: uint64(d.Fence), Attempt: d.Attempt})
}

func (b *book) finished(run uint64, err error) {
	r := ledger.Record{Kind: ledger.End, Run: run}
	if err != nil {
		r.Kind, r.Note = ledger.Fail, err.Error()
	}
	b.w.Write(r)
}

// effect is what the handler does to a system outside. A worker that was cut off may try
// it late, so the run's context does not end it.
func (b *book) effect(ctx context.Context, d job.Delivery) error {
	call, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	answer, err := ledger.Put(call, b.sink, d)
	if err == nil && answer == ledger.Fenced {
		err = errFenced
	}
	return err
}

var errFenced = errors.New("somebody with a higher fence was here")

// newSink writes to this process's ledger what it takes.
func newSink(r *Rig) (*ledger.Sink, error) { return ledger.NewSink(sinkPath(r.Dir), r.book.w) }

func sinkPath(dir string) string { return filepath.Join(dir, "sink") }

func (b *book) invoked(token, key string) {
	b.w.Write(ledger.Record{Kind: ledger.Invoke, Token: token, Key: key})
}

func (b *book) unknown(token, _ string) {
	b.w.Write(ledger.Record{Kind: ledger.Unknown, Token: token})
}

func (b *book) refused(token, _ string) {
	b.w.Write(ledger.Record{Kind: ledger.Refused, Token: token})
}

func (b *book) accepted(token, _ string, r job.Receipt) {
	id, err := job.ParseID(r.ID)
	if err != nil {
		panic(fmt.Sprintf("receipt of %s: %v", token, err)) // the product's own
	}
	b.w.Write(ledger.Record{Kind: ledger.Accepted, Token: token, Job: id})
}

func (b *book) fault(what string, p *Proc) {
	b.w.Write(ledger.Record{Kind: ledger.Fault, Note: what, Worker: p.Name})
}
