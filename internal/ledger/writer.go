package ledger

import (
	"fmt"
	"os"
	"sync"
	"time"
)

// Writer is the ledger of one life of a process. Safe for concurrent use.
type Writer struct {
	began time.Time

	mu  sync.Mutex
	f   *os.File
	seq uint64
	buf []byte
	err error
}

// Create begins a ledger. The file must not exist: each life of a process has its own.
func Create(path, what string) (*Writer, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create ledger: %w", err)
	}
	w := &Writer{began: time.Now(), f: f}
	w.Write(Record{Kind: Open, Note: what})
	return w, w.err
}

// Write appends a record under the next number and returns that. It does not return
// before the kernel has it: only the machine's death loses it. An error ends the ledger;
// Close returns it, and the Checker finds what is missing.
func (w *Writer) Write(r Record) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return 0
	}
	r.Seq = w.seq + 1
	if r.Kind == Start {
		r.Run = r.Seq
	}
	// By the monotonic clock, so that times of one file never fall.
	r.At = w.began.Add(time.Since(w.began)).UnixNano()
	w.buf = r.Append(w.buf[:0])
	if _, err := w.f.Write(w.buf); err != nil {
		w.err = fmt.Errorf("write ledger: %w", err)
		return 0
	}
	w.seq++
	return r.Seq
}

// Close writes that the process ended in its own time.
func (w *Writer) Close() error {
	w.Write(Record{Kind: Close})
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.f.Close(); err != nil && w.err == nil {
		w.err = fmt.Errorf("close ledger: %w", err)
	}
	return w.err
}
