package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"ringmaster/job"
)

// book is the ledger of one process: a file outside of Redis, one write for each line, so
// that a killed process leaves whole lines.
type book struct {
	f    *os.File
	name string
	inc  atomic.Value // string: a worker's incarnation
}

func openBook(r Role) (*book, error) {
	f, err := os.OpenFile(r.Ledger, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	b := &book{f: f, name: r.Name}
	b.inc.Store("")
	return b, nil
}

func (b *book) close() { _ = b.f.Close() }

func (b *book) put(verb string, fields ...string) {
	line := verb + "\t" + strconv.FormatInt(time.Now().UnixNano(), 10)
	for _, f := range fields {
		line += "\t" + f
	}
	// A ledger that cannot be written is seen as jobs that were committed without a run.
	_, _ = b.f.WriteString(strings.ReplaceAll(line, "\n", " ") + "\n")
}

func (b *book) joined(inc string) {
	b.inc.Store(inc)
	b.put("join", inc)
}

func (b *book) started(d job.Delivery, w Work) {
	b.put("start", d.ID.String(), d.Key, w.Token, strconv.FormatUint(uint64(d.Fence), 10), strconv.FormatUint(d.Epoch, 10), b.name)
}

func (b *book) finished(d job.Delivery, w Work, err error) {
	verb := "end"
	if err != nil {
		verb = "failed"
	}
	b.put(verb, d.ID.String(), d.Key, w.Token, strconv.FormatUint(uint64(d.Fence), 10), strconv.FormatUint(d.Epoch, 10), b.name)
}

func (b *book) invoked(token, key string) { b.put("invoke", token, key) }
func (b *book) unknown(token, key string) { b.put("unknown", token, key) }
func (b *book) refused(token, key string) { b.put("refused", token, key) }
func (b *book) accepted(token, key string, r job.Receipt) {
	b.put("accepted", token, key, r.ID)
}
func (b *book) fault(what string, p *Proc) { b.put("fault", what, p.Name) }
