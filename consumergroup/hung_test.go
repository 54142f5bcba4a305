package consumergroup

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"ringmaster/job"
)

// TestAHandlerThatDoesNotReturnIsTold: not while it has time, nor with every look.
func TestAHandlerThatDoesNotReturnIsTold(t *testing.T) {
	b := newBench(t, nil)
	var log bytes.Buffer
	b.w.deps.Log = slog.New(slog.NewTextHandler(&log, nil))
	b.arrive(entry(1, "k"), entry(2, "other"))
	hangs, other := b.start(), b.start()
	over := hangs.Run.(*runContext).deadline
	other.Run.(*runContext).deadline = over.Add(time.Hour)
	for _, c := range []struct {
		at    time.Duration // after its time was over
		lines int
	}{{-time.Second, 0}, {job.FirstWord - 1, 0}, {job.FirstWord, 1}, {job.FirstWord + 1, 1}, {job.FirstWord + job.NextWord - 1, 1}, {job.FirstWord + job.NextWord, 2}} {
		b.s.tellHung(over.Add(c.at))
		if n := strings.Count(log.String(), "does not return"); n != c.lines || strings.Contains(log.String(), "key=other") {
			t.Fatalf("%v after its time: %d lines, want %d\n%s", c.at, n, c.lines, &log)
		}
	}
	if !strings.Contains(log.String(), "job_id=0-1-0 type=t key=k") {
		t.Error(log.String())
	}
	b.w.finish(hangs, job.Completion{Outcome: job.Done})
	b.s.tellHung(over.Add(time.Hour / 2))
	if strings.Count(log.String(), "does not return") != 2 {
		t.Error("told of one that has returned")
	}
}
