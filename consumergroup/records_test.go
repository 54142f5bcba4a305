package consumergroup

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ringmaster/consumergroup/lanes"
	"ringmaster/job"
)

// skipping buries what is skipped, as long as its context is no excuse.
type skipping struct{}

func (*skipping) Before(string, time.Time) lanes.Prior      { return lanes.Prior{} }
func (*skipping) Guilty(string, []time.Time) (bool, string) { return false, "" }

func (*skipping) After(f Failure) Decision {
	if dead, _ := job.Verdict(f.Err); dead && f.Ended == nil {
		return Decision{Outcome: job.Buried, Attempts: f.Attempt, Error: f.Err.Error()}
	}
	return Decision{Outcome: job.HandBack}
}

func TestResultsThatCannotBeKeptAreDeadLettersAtOnce(t *testing.T) {
	text := func(s string) json.RawMessage { raw, _ := job.JSON(s); return raw }
	for name, c := range map[string]struct {
		result json.RawMessage
		want   job.Outcome
		says   string
	}{
		"none":                      {nil, job.Done, ""},
		"as large as it may be":     {json.RawMessage("[" + strings.Repeat("1", 98) + "]"), job.Done, ""},
		"a byte more":               {json.RawMessage("[" + strings.Repeat("1", 99) + "]"), job.Buried, "the result is 101 bytes: the limit is 100 (max_result_bytes)"},
		"a text is its bare bytes":  {text(strings.Repeat("\n", 100)), job.Done, ""},
		"a text of a byte more":     {text(strings.Repeat("\n", 101)), job.Buried, "the result is 101 bytes"},
		"a text of far too much":    {text(strings.Repeat("x", 5000)), job.Buried, "the result is 5002 bytes"},
		"what a browser would read": {json.RawMessage(`"` + strings.Repeat("<", 98) + `"`), job.Done, ""},
		"no JSON":                   {json.RawMessage("NaN"), job.Buried, "the result is not valid JSON"},
		"more than one value":       {json.RawMessage("1 2"), job.Buried, "the result is not valid JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, func(c *Config) { c.MaxResult = 100 })
			b.w.deps.Policy = &skipping{}
			b.arrive(entry(1, "k"))
			it := b.mustStart(1)
			it.Attempt = 1
			// Its context has ended meanwhile: that is no reason to run it once more.
			ctx := it.Run.(*runContext)
			ctx.End(job.ErrStopping)
			got := b.w.judge(it, outcome{result: c.result}, ctx)
			if got.Outcome != c.want || !strings.Contains(got.Data, c.says) || len(got.Data) > 1000 {
				t.Errorf("%c %.300s", got.Outcome, got.Data)
			}
		})
	}
}

func TestDeadLettersOfWhatWasWrittenByHandAreBounded(t *testing.T) {
	b := newBench(t, nil)
	long := strings.Repeat("y", 1<<20)
	fields := []string{"type", strings.Repeat("x", 5<<20)}
	for range 100 {
		fields = append(fields, long, long)
	}
	b.arrive(job.DecodeEntry(eid(1), fields, 0, 1))
	ends := b.answer()
	if len(ends) != 1 || ends[0].Outcome != job.Buried || len(ends[0].Data)+len(ends[0].Type) > mostOfFields+2000 {
		t.Errorf("%d ends, %d bytes of data, %d of type", len(ends), len(ends[0].Data), len(ends[0].Type))
	}
}

// sendEnds has what waits sent until it is answered.
func (b *bench) sendEnds(answer func(ends []job.Completion) ([]job.Answer, error)) {
	b.fake.onAck = answer
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan struct{})
	go func() { b.s.driver.RunAcks(ctx); close(done) }()
	<-time.After(5 * time.Minute)
	cancel()
	<-done
}

// silent does not answer so many times, and then does.
func silent(times int) func([]job.Completion) ([]job.Answer, error) {
	return func(ends []job.Completion) ([]job.Answer, error) {
		if times--; times >= 0 {
			return nil, fmt.Errorf("ack: %w: i/o timeout", job.ErrOutcomeUnknown)
		}
		return byOwner(ends), nil
	}
}

// slow takes a minute for an answer.
func slow(ends []job.Completion) ([]job.Answer, error) {
	<-time.After(time.Minute)
	return byOwner(ends), nil
}

func TestAnEndThatStaysUnansweredIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		var log strings.Builder
		b.w.deps.Log = slog.New(slog.NewTextHandler(&log, nil))
		b.arrive(entry(1, "k"))
		b.finish(b.mustStart(1))
		b.sendEnds(silent(10))
		if n := strings.Count(log.String(), "ack is not answered"); n != 1 || !strings.Contains(log.String(), "i/o timeout") || !strings.Contains(log.String(), "ack was answered") {
			t.Errorf("logged %d times:\n%s", n, log.String())
		}
		log.Reset()
		b.arrive(entry(2, "k"))
		b.finish(b.mustStart(2))
		b.sendEnds(silent(1))
		if log.String() != "" {
			t.Errorf("a short silence was logged:\n%s", log.String())
		}
		b.arrive(entry(3, "k"))
		b.finish(b.mustStart(3))
		b.sendEnds(slow)
		if n := strings.Count(log.String(), "ack is not answered"); n != 1 || !strings.Contains(log.String(), "for=2s") || !strings.Contains(log.String(), "on its way") || !strings.Contains(log.String(), "ack was answered") {
			t.Errorf("a call that takes a minute was logged %d times:\n%s", n, log.String())
		}
	})
}
