package archtest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"ringmaster/internal/redistest"
	"ringmaster/job"
	"ringmaster/streams"
)

// foreign is a producer that knows docs/wire.md and nothing else.
type foreign struct {
	t                    *testing.T
	ctx                  context.Context
	c                    *redis.Client
	once, reserve, batch string // the scripts of the page
	store                *streams.Store
}

func eachForeign(t *testing.T, f func(*foreign)) {
	t.Helper()
	scripts := regexp.MustCompile("(?s)```lua\n(.*?)```").FindAllStringSubmatch(read(t, "docs/wire.md"), -1)
	if len(scripts) != 3 {
		t.Fatalf("docs/wire.md has %d scripts, want 3", len(scripts))
	}
	redistest.Each(t, func(t *testing.T, url, _ string) {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		opts, err := redis.ParseURL(url)
		must(t, err)
		c := redis.NewClient(opts)
		defer func() { _ = c.Close() }()
		s, err := streams.Open(streams.Options{URL: url})
		must(t, err)
		defer func() { _ = s.Close() }()
		_, err = s.CreateQueue(ctx, streams.Queue{Name: "mails"})
		must(t, err)
		f(&foreign{t: t, ctx: ctx, c: c, once: scripts[0][1], reserve: scripts[1][1], batch: scripts[2][1], store: s})
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (f *foreign) eval(script string, keys []string, args ...any) (string, error) {
	v, err := f.c.Eval(f.ctx, script, keys, args...).Result()
	return fmt.Sprint(v), err
}

// fingerprint is the page's: the first 32 hex digits of SHA-256.
func fingerprint(kind, key, payload string) string {
	return fmt.Sprintf("%x", sha256.Sum256([]byte(kind+"\x00"+key+"\x00"+payload)))[:32]
}

// TestScriptOncePerIdempotencyKey: what the documented script adds, Ringmaster's own
// producer finds, and the other way round.
func TestScriptOncePerIdempotencyKey(t *testing.T) {
	eachForeign(t, func(f *foreign) {
		q, err := f.store.LookupQueue(f.ctx, "mails")
		must(f.t, err)
		p := f.store.NewProducer(q)
		defer p.Close()
		own := func(payload string) (job.Receipt, []error) {
			r, errs := p.Enqueue(f.ctx, job.Job{Type: "echo", Key: "customer-42", Payload: []byte(payload), IdempotencyKey: "order-7"})
			return r[0], errs
		}
		keys := []string{"rm:{mails}:idem:order-7", "rm:{mails}:jobs:15", "rm:{mails}:owner"}
		same := fingerprint("echo", "customer-42", "1")
		first, err := f.eval(f.once, keys, 15, same, 86_400_000, "echo", "customer-42", "1")
		must(f.t, err)
		r, errs := own("1")
		if errs != nil || !r.Duplicate || first != "["+r.ID+" 0]" {
			f.t.Fatalf("the script added %s; the producer answers %+v, %v", first, r, errs)
		}
		if again, err := f.eval(f.once, keys, 15, same, 86_400_000, "echo", "customer-42", "1"); err != nil || again != "["+r.ID+" 1]" {
			f.t.Fatalf("repeated: %s, %v", again, err)
		}
		if _, err := f.eval(f.once, keys, 15, fingerprint("echo", "customer-42", "2"), 86_400_000, "echo", "customer-42", "2"); err == nil || !strings.HasPrefix(err.Error(), "CONFLICT") {
			f.t.Fatalf("another job under the same key: %v", err)
		}
		if _, err := f.eval(f.reserve, keys[:1], fingerprint("echo", "customer-42", "2"), 86_400_000); err == nil || !strings.HasPrefix(err.Error(), "CONFLICT") {
			f.t.Fatalf("another job reserves the key: %v", err)
		}
		if _, err := f.eval(f.reserve, keys[:1], same, 86_400_000); err != nil && !errors.Is(err, redis.Nil) {
			f.t.Fatalf("the same job reserves the key: %v", err)
		}
		if n := f.c.XLen(f.ctx, "rm:{mails}:jobs:15").Val(); n != 1 {
			f.t.Fatalf("%d jobs in the stream, want 1", n)
		}
	})
}

// TestScriptOncePerSequence: a repeated batch answers the same, an older one is refused.
func TestScriptOncePerSequence(t *testing.T) {
	eachForeign(t, func(f *foreign) {
		keys := []string{"rm:{mails}:producer:p1", "rm:{mails}:jobs:15", "rm:{mails}:owner"}
		send := func(seq int) (string, error) {
			return f.eval(f.batch, keys, 15, seq, 86_400_000, "echo", "customer-42", "1", "echo", "customer-42", "2")
		}
		first, err := send(1)
		must(f.t, err)
		again, err := send(1)
		must(f.t, err)
		if strings.TrimSuffix(first, "2 0]")+"2 1]" != again {
			f.t.Fatalf("answers %s, repeated %s", first, again)
		}
		if _, err := send(2); err != nil {
			f.t.Fatal(err)
		}
		if _, err := send(1); err == nil || !strings.HasPrefix(err.Error(), "STALE") {
			f.t.Fatalf("an older batch: %v", err)
		}
		rows, err := f.c.XRange(f.ctx, "rm:{mails}:jobs:15", "-", "+").Result()
		must(f.t, err)
		if len(rows) != 4 {
			f.t.Fatalf("%d jobs in the stream, want 4", len(rows))
		}
		id, _ := job.ParseEntryID(rows[0].ID)
		if id.Seq++; rows[1].ID != id.String() {
			f.t.Fatalf("ids %s and %s are not consecutive", rows[0].ID, rows[1].ID)
		}
	})
}
