package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"ringmaster/internal/failpoint"
	"ringmaster/internal/pause"
	"ringmaster/job"
)

// Work is the payload of every job.
type Work struct {
	Token string `json:"token"` // of the submission, as the producer's ledger has it
	Ms    int    `json:"ms"`    // how long it takes
	Do    string `json:"do,omitempty"`
	Fill  string `json:"fill,omitempty"` // makes it large
	Mark  string `json:"mark,omitempty"` // file that each attempt adds a byte to, in the ring's directory
}

// What Work.Do may be besides nothing.
const (
	doPanic   = "panic"   // the first two attempts panic
	doGoexit  = "goexit"  // the first attempt ends its goroutine
	doSpite   = "spite"   // the first attempt's error panics when it is asked for its text
	doNil     = "nil"     // gives a job up that has nothing wrong
	doExit    = "exit"    // the first start ends its process
	doStack   = "stack"   // the first start overflows the stack, which ends the process
	doHang    = "hang"    // the first attempt waits for its context
	doIgnore  = "ignore"  // takes its time whatever its context says
	doAlloc   = "alloc"   // takes 1 GiB and gives it back
	doPoison  = "poison"  // every start ends its process
	doFail    = "fail"    // every attempt fails
	doCommand = "command" // runs a command with a large payload, see countsLate
	doNothing = ""        // takes its time
)

type handler struct {
	book *book
	role Role
}

var errCut = errors.New("cut short")

var errAsked = errors.New("failed as it was asked to")

// work is the handler of all jobs. It writes each start and end down, outside of Redis.
func (h *handler) work(ctx context.Context, d job.Delivery) (json.RawMessage, error) {
	var w Work
	if err := json.Unmarshal(d.Payload, &w); err != nil {
		return nil, job.Skip(err)
	}
	number := h.book.started(d, w)
	err := errCut
	defer func() { // after a panic too
		noted := err
		if _, asked := err.(*spite); asked { //nolint:errorlint // it is not to be asked
			noted = errAsked
		}
		h.book.finished(number, noted)
	}()
	starts := h.mark(w)
	failpoint.Hit(failpoint.W3)
	if err = h.do(ctx, w, d.Attempt, starts); err == nil {
		err = h.book.effect(ctx, d)
	}
	return nil, err
}

func (h *handler) do(ctx context.Context, w Work, attempt, starts int) error {
	switch w.Do {
	case doPanic:
		if attempt <= 2 {
			panic("as asked")
		}
	case doGoexit:
		if attempt == 1 {
			runtime.Goexit()
		}
	case doSpite:
		if attempt == 1 {
			return (*spite)(nil)
		}
	case doCommand:
		return h.command(ctx, w)
	case doNil:
		return job.Skip(nil)
	case doExit:
		if starts == 1 {
			os.Exit(3)
		}
	case doPoison:
		os.Exit(4)
	case doStack:
		if starts == 1 {
			_ = overflow(1)
		}
	case doHang:
		if attempt == 1 {
			<-ctx.Done()
			return context.Cause(ctx)
		}
	case doIgnore:
		time.Sleep(time.Duration(w.Ms) * time.Millisecond)
		return nil
	case doAlloc:
		block := make([]byte, 1<<30)
		// A machine that is short of memory is slow to give it.
		for i, began := 0, time.Now(); i < len(block) && time.Since(began) < 2*time.Second; i += 4096 {
			block[i] = 1
		}
		runtime.KeepAlive(block)
	case doFail:
		return errAsked
	}
	if !pause.For(ctx, time.Duration(w.Ms)*time.Millisecond) {
		return context.Cause(ctx)
	}
	return nil
}

// spite is an error whose nil pointer, which is not nil as an error, panics when it is asked.
type spite struct{ text string }

func (s *spite) Error() string { return s.text }

// overflow does not come back for any n above 0.
func overflow(n int) int {
	if n == 0 {
		return 0
	}
	return overflow(n+1) + 1
}

// mark counts the starts of a job, over all processes: it survives their deaths.
func (h *handler) mark(w Work) int {
	if w.Mark == "" {
		return 0
	}
	f, err := os.OpenFile(filepath.Join(h.role.Dir, "mark-"+w.Mark), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 0
	}
	defer f.Close()
	if _, err := f.WriteString("."); err != nil {
		return 0
	}
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	return int(info.Size())
}
