package streams

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"ringmaster/internal/redistest"
	"ringmaster/job"
)

// As every move of a slot begins: the source answers ASK for what does not exist. Nobody follows it.
func TestNoScriptFollowsAMovingSlot(t *testing.T) {
	servers := redistest.Primaries(t, 2, "rm:{q}:", "rm:{other}:")
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	s, err := Open(Options{Addrs: []string{servers[0].Addr(), servers[1].Addr()}, Mode: "cluster"})
	must(t, err)
	defer func() { _ = s.Close() }()
	q, err := s.CreateQueue(ctx, Queue{Name: "q", Partitions: 1})
	must(t, err)
	home, err := s.node(ctx, s.shard(q, 0))
	must(t, err)
	target := servers[0].Addr()
	if target == home.Options().Addr {
		target = servers[1].Addr()
	}
	to := redis.NewClient(&redis.Options{Addr: target, Protocol: 2})
	defer func() { _ = to.Close() }()
	slot := home.ClusterKeySlot(ctx, s.shard(q, 0)).Val()
	set := func(c *redis.Client, args ...any) {
		t.Helper()
		must(t, c.Do(ctx, append([]any{"CLUSTER", "SETSLOT", slot}, args...)...).Err())
	}
	name := func(c *redis.Client) string { return must1(c.Do(ctx, "CLUSTER", "MYID").Text())(t) }
	set(to, "IMPORTING", name(home))
	set(home, "MIGRATING", name(to))

	waits := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, job.ErrUnavailable) || errors.Is(err, job.ErrOutcomeUnknown) || !strings.Contains(err.Error(), "is being moved to "+target) {
			t.Errorf("%s: %v", what, err)
		}
	}
	ring := s.NewRing(q, "d")
	_, _, err = ring.Lead(ctx, time.Second) // a script by itself
	waits("lead", err)
	_, err = ring.Look(ctx) // one of a pipeline
	waits("look", err)
	short, end := context.WithTimeout(ctx, 300*time.Millisecond)
	defer end()
	p := s.NewProducer(q)
	defer p.Close()
	_, errs := p.Enqueue(short, job.Job{Type: "t", Key: "k"}) // tried until its caller gives up
	if errs == nil {
		t.Error("a job was accepted")
	}
	_, errs = p.Enqueue(ctx, job.Job{Type: "t", Key: "k", IdempotencyKey: "i"})
	waits("enqueue once", anyOf(errs))
	_, err = s.CreateQueue(ctx, q)
	waits("create", err)
	if n := to.ClusterCountKeysInSlot(ctx, int(slot)).Val(); n != 0 {
		t.Errorf("%d keys were made at the target", n)
	}
	var told []string
	for _, r := range must1(s.Inspect().Risks(ctx))(t) {
		if r.Name == "slots" {
			told = append(told, r.Server)
		}
	}
	if len(told) != 2 {
		t.Errorf("a move is told of %v, want both servers", told)
	}
	set(to, "STABLE")
	set(home, "STABLE")
	if _, errs := p.Enqueue(ctx, job.Job{Type: "t", Key: "k"}); errs != nil {
		t.Errorf("after it: %v", errs)
	}
}

func anyOf(errs []error) error { return errors.Join(errs...) }

func TestAScriptStoppedHalfWayIsUnknown(t *testing.T) {
	err := wrap("ack", answerError("ERR Script attempted to access a non local key in a cluster node script: 34, on @user_script:1."))
	if !errors.Is(err, job.ErrOutcomeUnknown) {
		t.Error(err)
	}
}
