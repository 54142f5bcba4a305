package streams

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"ringmaster/internal/faultproxy"
	"ringmaster/job"
)

// Faults that random ones do not find: each is staged by a proxy that holds or loses one
// chosen request.

// proxied opens a store behind a proxy. Its calls give up soon.
func (c *crew) proxied() (*Store, *faultproxy.Proxy) {
	c.t.Helper()
	p := faultproxy.New(c.t, strings.TrimPrefix(c.url, "redis://"))
	s, err := Open(Options{URL: p.URL(), Timeout: 500 * time.Millisecond})
	must(c.t, err)
	c.t.Cleanup(func() { _ = s.Close() })
	return s, p
}

// sha is what a script is called by, at the crew's server.
func (c *crew) sha(of anyScript) string {
	_, hash := c.s.text(of.file())
	return hash
}

// lateRead makes a read that reaches the server only when the rule is released.
func (h *hand) lateRead(p *faultproxy.Proxy) *faultproxy.Rule {
	h.t.Helper()
	rule := p.Hold("XREADGROUP", 1)
	ctx, cancel := context.WithCancel(h.ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := h.readers[0].Read(ctx, []int{0}, 10, -1)
		ended <- err
	}()
	<-rule.Fired()
	if err := <-ended; !errors.Is(err, job.ErrOutcomeUnknown) {
		h.t.Fatalf("a read without an answer: %v", err)
	}
	return rule
}

// Without ending the old connection, the late read takes a job after the worker has
// looked at its pending list: the next read brings a later job of the key first.
func TestLateReadHidesAJobUnlessItsConnectionIsEnded(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		s, proxy := c.proxied()
		a := c.give(c.joinVia(s, "a.1"))
		rule := a.lateRead(proxy)
		naive := s.NewReader(c.q, 0, a.inc) // connects anew and leaves the old connection alone
		must(c.t, naive.Reset(c.ctx))
		defer func() { _ = naive.Close() }()
		c.expect("pending before", len(must1(naive.History(c.ctx, 0))(c.t)), 0)
		first := c.add(1, "k")
		rule.Release()
		<-rule.Executed()
		second := c.add(1, "k")
		b := must1(naive.Read(c.ctx, []int{0}, 10, -1))(c.t)
		c.expect("the later job surfaces alone", idsOf(b.Jobs[0].Entries), second)
		c.expect("the earlier one is handed out unseen", idsOf(must1(naive.History(c.ctx, 0))(c.t)), slices.Concat(first, second))
	})
}

func TestResetEndsTheLateRead(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		s, proxy := c.proxied()
		a := c.give(c.joinVia(s, "a.1"))
		rule := a.lateRead(proxy)
		must(c.t, a.readers[0].Reset(c.ctx))
		c.expect("pending", len(must1(a.readers[0].History(c.ctx, 0))(c.t)), 0)
		ids := c.add(2, "k")
		rule.Release()
		c.expect("both, in order", a.read(0), ids)
	})
}

// A Reset that could not end the old connection must not forget it.
func TestResetRemembersWhatItCouldNotEnd(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		s, proxy := c.proxied()
		a := c.give(c.joinVia(s, "a.1"))
		rule := a.lateRead(proxy)
		proxy.Cut("kill", 1)
		if err := a.readers[0].Reset(c.ctx); !errors.Is(err, job.ErrOutcomeUnknown) {
			c.t.Fatalf("reset whose kill was lost: %v", err)
		}
		must(c.t, a.readers[0].Reset(c.ctx))
		ids := c.add(2, "k")
		rule.Release()
		c.expect("both, in order", a.read(0), ids)
		c.expect("nothing more is to be ended", len(a.readers[0].doomed), 0)
	})
}

func TestLostReadIsFoundInTheHistory(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		s, proxy := c.proxied()
		a := c.give(c.joinVia(s, "a.1"))
		ids := c.add(2, "k")
		proxy.LoseReply("XREADGROUP", 1)
		if _, err := a.readers[0].Read(c.ctx, []int{0}, 10, -1); !errors.Is(err, job.ErrOutcomeUnknown) {
			c.t.Fatalf("read: %v", err)
		}
		must(c.t, a.readers[0].Reset(c.ctx))
		c.expect("history", idsOf(must1(a.readers[0].History(c.ctx, 0))(c.t)), ids)
		c.expect("nothing else waits", len(a.read(0)), 0)
	})
}

// The group is the incarnation's, not the tenure's: a stale read of an earlier tenure
// would be valid again when the partition comes back. It comes back only by way of
// releases on the reading connection, and Reset has ended what came before.
func TestPartitionComesBackToTheSameIncarnation(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		s, proxy := c.proxied()
		a, b := c.give(c.joinVia(s, "a.1")), c.join("b.1")
		rule := a.lateRead(proxy)
		must(c.t, a.readers[0].Reset(c.ctx))
		a.handTo(b, 0, 1)
		b.handTo(a, 0, 2)
		c.expect("owner", c.owner(0), "a.1 3")
		ids := c.add(2, "k")
		rule.Release()
		c.expect("both, in the new tenure", a.read(0), ids)
	})
}

func TestEvictedIncarnationGetsNothingBack(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		a, b := c.give(c.join("a.1")), c.join("b.1")
		must(c.t, c.plan("key", b.inc))
		if err := c.steal(0, a.inc, 1, b.inc); !errors.Is(err, ErrMoved) {
			c.t.Errorf("steal from a member: %v", err)
		}
		c.evict(a)
		must(c.t, c.steal(0, a.inc, 1, b.inc))
		if err := c.plan("key", a.inc); !errors.Is(err, ErrMoved) {
			c.t.Errorf("a plan for an evicted incarnation: %v", err)
		}
		must(c.t, c.raw.HSet(c.ctx, c.key(0, "plan"), "0", a.inc).Err()) // as if it had been evicted after the plan
		c.expect("release", b.release(0, 2), job.ReleaseKept)
		c.evict(b)
		if err := c.steal(0, b.inc, 2, a.inc); !errors.Is(err, ErrMoved) {
			c.t.Errorf("steal for an evicted incarnation: %v", err)
		}
	})
}

// A lost reply of a hand-over: repeated, it is fenced, and what runs keeps its permits.
func TestLostReleaseRepeated(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		s, proxy := c.proxied()
		a, b := c.give(c.joinVia(s, "a.1")), c.join("b.1")
		ids := c.add(2, "k")
		a.read(0)
		must(c.t, c.plan("key", b.inc))
		c.expect("fenced by its epoch", a.release(0, 7), job.ReleaseFenced) // so that the server knows the script
		rule := proxy.LoseReply(c.sha(&c.s.scripts.release), 1)
		_, errs := a.readers[0].Release(c.ctx, []job.Tenure{{Partition: 0, Epoch: 1}}, [][]job.EntryID{ids[:1]}, false)
		if !errors.Is(errs[0], job.ErrOutcomeUnknown) {
			c.t.Fatalf("release: %v", errs[0])
		}
		<-rule.Executed()
		must(c.t, a.readers[0].Reset(c.ctx))
		c.expect("repeated", a.release(0, 1, ids[0]), job.ReleaseFenced)
		c.expect("claimed", claimed(b.claimAll(0, 2, 10)), ids[1:])
		c.expect("permit", a.ack(0, 1, done(ids[0])), "D")
	})
}
