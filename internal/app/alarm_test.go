package app

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"ringmaster/internal/redistest"
	"ringmaster/streams"
)

// What should not have happened, such as jobs that somebody deleted, is a line of the log too.
func TestAlarmsAreLogged(t *testing.T) {
	r := newRig(t, redistest.Mini(t).URL(), streams.Queue{Partitions: 1})
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	out, in := io.Pipe()
	store := newRingStore(r.store, r.queue, "d1", 0, slog.New(slog.NewTextHandler(in, nil)))
	done := make(chan struct{})
	go func() {
		defer close(done)
		store.Hints(ctx, make(chan struct{}, 1))
	}()
	heard := make(chan string, 1)
	go func() {
		line := make([]byte, 1024)
		n, _ := out.Read(line)
		heard <- string(line[:n])
		_, _ = io.Copy(io.Discard, out)
	}()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	line := ""
	for line == "" {
		// From when on the control stream is heard nobody tells.
		if err := r.raw.XAdd(r.ctx, &redisAdd{Stream: r.key("control"), Values: []any{"type", "alarm", "name", "w1", "data", `{"lost":3}`}}).Err(); err != nil {
			t.Fatal(err)
		}
		select {
		case line = <-heard:
		case <-again.C:
		case <-r.ctx.Done():
			t.Fatal("an alarm is not logged")
		}
	}
	if !strings.Contains(line, "level=WARN msg=alarm by=w1") || !strings.Contains(line, `lost`) {
		t.Errorf("logged: %s", line)
	}
	cancel()
	<-done
	_ = in.Close()
}
