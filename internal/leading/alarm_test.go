package leading

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"ringmaster/internal/redistest"
)

// What should not have happened, such as jobs that somebody deleted, is a line of the log too.
func TestAlarmsAreLogged(t *testing.T) {
	t.Parallel()
	r := newScene(t, redistest.Mini(t).URL())
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	out, in := io.Pipe()
	ring := r.ring(slog.New(slog.NewTextHandler(in, nil)))
	done := make(chan struct{})
	go func() {
		defer close(done)
		ring.Hints(ctx, make(chan struct{}, 1))
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
		if err := r.raw.XAdd(r.ctx, &redis.XAddArgs{Stream: "rm:{q}:control", Values: []any{"type", "alarm", "name", "w1", "data", `{"lost":3}`}}).Err(); err != nil {
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
