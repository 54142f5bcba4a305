package streams

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"ringmaster/job"
)

// Writes are confirmed on the connection that wrote, in the same pipeline: WAIT and
// WAITAOF speak of their own connection's writes. On another one they answer for what that
// one wrote last, which may be long confirmed. In a script or a transaction they do not
// wait at all (redis.io, "WAIT").

// confirming is how the server is asked to confirm, and for how long.
type confirming struct {
	v    atomic.Int32
	wait atomic.Int64 // a time.Duration; written before v
}

// How long a batch may wait where nobody has set it. A replica that needs longer than a second
// is not well. A file that is synced once a second takes up to one even where all is well, and
// the server puts that off by up to two where its disk is slow (redis.conf, "appendfsync").
const (
	waitForReplicas = time.Second
	waitForFile     = 3 * time.Second
)

// longestWait is the longest that is waited at a durability where nobody has set it.
func longestWait(d job.Durability) time.Duration {
	if d.Fsync {
		return waitForFile
	}
	return waitForReplicas
}

const (
	confirmUnknown int32 = iota
	confirmByReply       // every answer says it: appendfsync always
	confirmByWait
	confirmByWaitAOF
)

// NotDurable says why a server cannot confirm what the store was told to have confirmed.
// It is an ErrInvalid: the setting or the server has to change.
type NotDurable struct{ Durability, Reason string }

func (e *NotDurable) Error() string { return "durability " + e.Durability + ": " + e.Reason }
func (e *NotDurable) Unwrap() error { return job.ErrInvalid }

// CheckDurability asks the server once whether it can confirm at the store's durability,
// and how. A *NotDurable says that it cannot; nothing weaker is ever used in its place. Where
// the durability says nothing of the wait, the server's settings do: 1 s, or 3 s where a file
// is synced once a second, or may be: the settings of replicas are not looked at, and a server
// need not tell its own.
func (s *Store) CheckDurability(ctx context.Context) error {
	d := s.opts.Durability
	if d.Memory() || s.how.v.Load() != confirmUnknown {
		return nil
	}
	if err := s.detect(ctx); err != nil {
		return notSent("check durability", err)
	}
	if s.Embedded() {
		return &NotDurable{d.String(), "the store in memory has neither disk nor replicas"}
	}
	if !d.Fsync {
		s.confirmBy(confirmByWait, waitForReplicas)
		return nil
	}
	on, always := s.setting(ctx, "appendonly"), s.setting(ctx, "appendfsync") == "always"
	if on == "no" {
		return &NotDurable{d.String(), "appendonly is no at the server: set it to yes"}
	}
	if d.Replicas == 0 && on == "yes" && always {
		s.confirmBy(confirmByReply, waitForReplicas)
		return nil
	}
	err := s.cmd.Do(ctx, "WAITAOF", 0, 0, 1).Err()
	switch {
	case err == nil:
		if d.Replicas == 0 && always {
			s.confirmBy(confirmByWaitAOF, waitForReplicas)
		} else {
			s.confirmBy(confirmByWaitAOF, waitForFile)
		}
		return nil
	case !executed(err) && !redis.HasErrorPrefix(err, "NOPERM"):
		return wrap("check durability", err)
	case d.Replicas > 0:
		return &NotDurable{d.String(), "the server has no WAITAOF, or does not allow it: that needs Redis 7.2"}
	default:
		return &NotDurable{d.String(), "the server has no WAITAOF (Redis 7.2), or does not allow it: set appendfsync to always"}
	}
}

// confirmBy notes how the server confirms, and how long it may take where nobody has set it.
func (s *Store) confirmBy(how int32, wait time.Duration) {
	if set := s.opts.Durability.Wait; set > 0 {
		wait = max(set, time.Millisecond) // to the server 0 is for ever
	}
	s.how.wait.Store(int64(wait))
	s.how.v.Store(how)
}

// waitFor is how long a batch of writes may wait to be confirmed. Known once CheckDurability was answered.
func (s *Store) waitFor() time.Duration { return time.Duration(s.how.wait.Load()) }

// setting is a setting of the server; "" if it does not tell.
func (s *Store) setting(ctx context.Context, name string) string {
	m, err := s.cmd.ConfigGet(ctx, name).Result()
	if err != nil {
		return ""
	}
	return m[name]
}

// confirmation is the question whether the server has confirmed all that a pipeline wrote.
type confirmation struct{ write, answer *redis.Cmd }

// confirm adds to a pipeline what has the server confirm all that the pipeline wrote. nil:
// every answer confirms itself. A write goes before the question: a server may count only
// its own connection's writes, and a repeated call may write nothing.
func (s *Store) confirm(ctx context.Context, p redis.Pipeliner, shard string) *confirmation {
	d := s.opts.Durability
	var question []any
	switch s.how.v.Load() {
	case confirmByWait:
		question = []any{"WAIT", d.Replicas, s.waitFor().Milliseconds()}
	case confirmByWaitAOF:
		question = []any{"WAITAOF", 1, d.Replicas, s.waitFor().Milliseconds()}
	default:
		return nil
	}
	// Whole, not by its hash: the pipeline has no second round for it.
	text, _ := s.text(&s.scripts.confirm.lua)
	write := p.Eval(ctx, text, []string{shard})
	return &confirmation{write: write, answer: p.Do(ctx, question...)}
}

// unconfirmed is an ErrUnconfirmed if the answer to confirm says less than was asked for.
func (s *Store) unconfirmed(doing string, c *confirmation) error {
	d := s.opts.Durability
	v, err := c.answer.Result()
	if err == nil {
		err = c.write.Err() // then the answer is about earlier writes
	}
	if err != nil {
		return &serverError{kind: job.ErrUnconfirmed, doing: doing, err: err}
	}
	local, replicas := 0, 0
	switch v := v.(type) {
	case int64:
		replicas = int(v)
	case []any:
		both := listOf(v)
		if local, replicas = both.count(), both.count(); !both.whole() {
			return fmt.Errorf("%s: the answer to WAITAOF makes no sense: %v: %w", doing, v, job.ErrUnconfirmed)
		}
		if local < 1 {
			return fmt.Errorf("%s: the server's own disk has it not within %v: %w", doing, s.waitFor(), job.ErrUnconfirmed)
		}
	}
	if replicas < d.Replicas {
		return fmt.Errorf("%s: %d of %d replicas have it within %v: %w", doing, replicas, d.Replicas, s.waitFor(), job.ErrUnconfirmed)
	}
	return nil
}

// runConfirmed is run with the store's durability.
func runConfirmed[A any](ctx context.Context, s *Store, sc *script[A], shard string, args ...any) (A, error) {
	if s.opts.Durability.Memory() {
		return run(ctx, s, s.cmd, sc, shard, args...)
	}
	k := &call[A]{shard: shard, args: args}
	runAllConfirmed(ctx, s, sc, []*call[A]{k})
	return k.answer, k.err
}

// runAllConfirmed is runAll with the store's durability: one wait for each server that is
// written to, whatever the number of calls.
func runAllConfirmed[A any](ctx context.Context, s *Store, sc *script[A], calls []*call[A]) {
	if s.opts.Durability.Memory() {
		runAll(ctx, s, s.cmd, sc, calls)
		return
	}
	err := s.CheckDurability(ctx)
	var nodes map[*redis.Client][]*call[A]
	if err == nil {
		nodes, err = byNode(ctx, s, calls)
	}
	if err != nil {
		for _, k := range calls {
			k.err = err
		}
		return
	}
	var all sync.WaitGroup
	for node, some := range nodes {
		all.Go(func() {
			pipe(ctx, s, node.Pipeline, sc, some, pipeline{confirm: true})
			relocate(ctx, s, some)
		})
	}
	all.Wait()
}

// byNode sorts calls by the server that holds their shard: a wait must go to the one that
// was written to, and a cluster's client chooses any for a command without a key.
func byNode[A any](ctx context.Context, s *Store, calls []*call[A]) (map[*redis.Client][]*call[A], error) {
	nodes := map[*redis.Client][]*call[A]{}
	for _, k := range calls {
		c, err := s.node(ctx, k.shard)
		if err != nil {
			return nil, notSent("find the server of "+k.shard, err)
		}
		nodes[c] = append(nodes[c], k)
	}
	return nodes, nil
}

// relocate has a cluster's map read anew if an answer shows that it is old.
func relocate[A any](ctx context.Context, s *Store, calls []*call[A]) {
	if c, ok := s.cmd.(*redis.ClusterClient); ok {
		reload(ctx, s, c, calls)
	}
}

// reload does so for one client: each has a map of its own.
func reload[A any](ctx context.Context, s *Store, c *redis.ClusterClient, calls []*call[A]) {
	for _, k := range calls {
		if wordOfMove(k.err) {
			s.moving(k.shard)
		}
	}
	for _, k := range calls {
		if errors.Is(k.err, job.ErrUnavailable) || errors.Is(k.err, job.ErrOutcomeUnknown) {
			c.ReloadState(ctx)
			return
		}
	}
}

// replicaRisk: fewer replicas are connected than the store's durability waits for.
func (in *Inspector) replicaRisk(ctx context.Context, c *redis.Client) []Risk {
	want := in.s.opts.Durability.Replicas
	if want == 0 {
		return nil
	}
	info, err := c.Info(ctx, "replication").Result()
	n, bad := strconv.Atoi(infoField(info, "connected_slaves"))
	if err != nil || bad != nil || n >= want {
		return nil
	}
	return []Risk{{Name: "replicas", Value: strconv.Itoa(n), Grave: true,
		What: fmt.Sprintf("%d replicas are connected and %d are waited for: nothing can be confirmed", n, want), Remedy: "start more"}}
}
