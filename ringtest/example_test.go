package ringtest_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"ringmaster"
	"ringmaster/ringtest"
)

type Mail struct {
	To string `json:"to"`
}

// Outbox is what is tested: a handler with an effect.
type Outbox struct {
	mu       sync.Mutex
	sent     []string
	failures int
}

func (o *Outbox) fail(times int) { o.failures = times }

func (o *Outbox) send(_ context.Context, j ringmaster.Job[Mail]) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.failures > 0 {
		o.failures--
		return errors.New("no line")
	}
	o.sent = append(o.sent, j.Payload.To)
	return nil
}

func TestMailsAreSent(t *testing.T) {
	ringtest.Run(t, func(t *testing.T, r *ringtest.Ring) {
		var outbox Outbox
		r.Worker(ringmaster.WorkerConfig{Queues: []string{"mails"}}, func(w *ringmaster.Worker) {
			ringmaster.Handle(w, "send", outbox.send)
		})
		outbox.fail(3) // the first attempts; the pauses after them pass at once

		first := r.Submit("mails", "send", Mail{To: "ada@example.org"}, ringmaster.Key("ada"))
		second := r.Submit("mails", "send", Mail{To: "ada@example.org"}, ringmaster.Key("ada"))
		ringtest.RequireCompleted(t, first)
		ringtest.RequireCompleted(t, second)
		ringtest.RequireInOrder(t, r)
		if len(outbox.sent) != 2 {
			t.Errorf("sent %d mails", len(outbox.sent))
		}
	})
}

func TestAMailIsSentTwiceAtMost(t *testing.T) {
	ringtest.Run(t, func(t *testing.T, r *ringtest.Ring) {
		var outbox Outbox
		setUp := func(w *ringmaster.Worker) { ringmaster.Handle(w, "send", outbox.send) }
		w := r.Worker(ringmaster.WorkerConfig{Queues: []string{"mails"}}, setUp)
		w.At(ringtest.AfterHandler, w.Kill) // the mail is sent, and nobody told
		mail := r.Submit("mails", "send", Mail{To: "ada@example.org"})
		r.Worker(ringmaster.WorkerConfig{Queues: []string{"mails"}}, setUp)
		ringtest.RequireCompleted(t, mail)
		if len(outbox.sent) != 2 {
			t.Errorf("sent %d mails", len(outbox.sent))
		}
	})
}
