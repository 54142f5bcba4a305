package streams

import (
	"context"
	"crypto/sha1"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"ringmaster/internal/failpoint"
)

//go:embed lua/*.lua
var luaFiles embed.FS

// script is one Lua file with the parts it uses put before it. Redis keeps scripts by
// the hash of their text; allow-oom scripts have two texts, because the in-memory store
// does not know the flag.
type script struct {
	name          string
	plain, oom    string
	plainSHA, sha string
	form          form // of its answer
}

// scripts are all scripts, loaded once per Store.
type scripts struct {
	create, enqueue, enqueueOnce, reserve                                    script
	ack, release, claim, skim, unpark, mark                                  script
	join, heartbeat, leave, snapshot, report                                 script
	lead, resign, look, plan, steal, evict, revoke, permits, repair, advance script
	requeue, discard, state, counts, key, request, audit, ids, held, reclaim script
	renew, confirm, doubt                                                    script

	names map[string]string // by hash
}

// Scripts that only bring work forward must run when memory is full, or nothing would
// ever free it (redis.io, "Eval scripts", flags). A worker that joins is one of them: where
// all have ended, nobody else drains.
var growing = map[string]bool{"create": true, "enqueue": true, "enqueue_once": true, "reserve": true, "requeue": true}

func loadScripts() (*scripts, error) {
	s, forms := &scripts{names: map[string]string{}}, forms()
	for name, dst := range map[string]*script{
		"create": &s.create, "enqueue": &s.enqueue, "enqueue_once": &s.enqueueOnce, "reserve": &s.reserve,
		"ack": &s.ack, "release": &s.release, "claim": &s.claim, "skim": &s.skim, "unpark": &s.unpark, "mark": &s.mark,
		"join": &s.join, "heartbeat": &s.heartbeat, "leave": &s.leave, "snapshot": &s.snapshot, "report": &s.report,
		"lead": &s.lead, "resign": &s.resign, "look": &s.look, "plan": &s.plan, "steal": &s.steal, "evict": &s.evict,
		"revoke": &s.revoke, "permits": &s.permits, "repair": &s.repair, "advance": &s.advance,
		"requeue": &s.requeue, "discard": &s.discard, "state": &s.state, "counts": &s.counts, "key": &s.key,
		"request": &s.request, "audit": &s.audit, "ids": &s.ids, "held": &s.held, "reclaim": &s.reclaim,
		"renew": &s.renew, "confirm": &s.confirm, "doubt": &s.doubt,
	} {
		text, err := scriptText(name)
		if err != nil {
			return nil, err
		}
		*dst = script{name: name, plain: text, oom: text, form: forms[name]}
		if !growing[name] {
			dst.oom = "#!lua flags=allow-oom\n" + text
		}
		dst.plainSHA, dst.sha = sha(dst.plain), sha(dst.oom)
		s.names[dst.plainSHA], s.names[dst.sha] = name, name
	}
	return s, nil
}

// ScriptName is the script with this hash, as the server's log of slow commands has it;
// empty: it is none of ours.
func (s *Store) ScriptName(hash string) string { return s.scripts.names[hash] }

// scriptText puts the parts that the file names in its "-- uses:" line before it.
func scriptText(name string) (string, error) {
	body, err := luaFiles.ReadFile("lua/" + name + ".lua")
	if err != nil {
		return "", fmt.Errorf("script %s: %w", name, err)
	}
	var b strings.Builder
	for line := range strings.Lines(string(body)) {
		parts, ok := strings.CutPrefix(line, "-- uses: ")
		if !ok {
			continue
		}
		for _, part := range strings.Fields(parts) {
			text, err := luaFiles.ReadFile("lua/part_" + part + ".lua")
			if err != nil {
				return "", fmt.Errorf("script %s uses %s: %w", name, part, err)
			}
			b.Write(text)
		}
	}
	b.Write(body)
	return b.String(), nil
}

func sha(text string) string {
	sum := sha1.Sum([]byte(text))
	return hex.EncodeToString(sum[:])
}

// sent are the moments between a request and its answer that tests can stop at.
func (s *scripts) sent() map[string]failpoint.Sent {
	return map[string]failpoint.Sent{
		s.ack.sha: {Whole: failpoint.W5}, s.claim.sha: {Whole: failpoint.W11},
		s.steal.sha: {Whole: failpoint.D7}, s.advance.sha: {Whole: failpoint.D7},
		s.enqueue.sha: {Half: failpoint.E2, Whole: failpoint.E1}, s.enqueueOnce.sha: {Half: failpoint.E2, Whole: failpoint.E1},
	}
}

// flavor is what the server turned out to be.
type flavor struct{ v atomic.Int32 }

const (
	flavorUnknown int32 = iota
	flavorRedis
	flavorMini // the in-memory store: no script flags
)

// caller is what runs a script: a client, a connection or a pipeline of either.
type caller interface {
	Eval(ctx context.Context, script string, keys []string, args ...any) *redis.Cmd
	EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd
}

// detect asks the server once what it is. Redis and Valkey answer INFO server.
func (s *Store) detect(ctx context.Context) error {
	if s.flavor.v.Load() != flavorUnknown {
		return nil
	}
	info, err := s.cmd.Info(ctx, "server").Result()
	switch {
	case err == nil && strings.Contains(info, "redis_version"):
		s.flavor.v.Store(flavorRedis)
	case err != nil && redis.HasErrorPrefix(err, "NOPERM"):
		s.flavor.v.Store(flavorRedis) // a user without the right to INFO; the in-memory store has no users
	case err == nil || executed(err):
		s.flavor.v.Store(flavorMini)
	default:
		return err
	}
	return nil
}

func (s *Store) text(sc *script) (text, hash string) {
	if s.flavor.v.Load() == flavorMini {
		return sc.plain, sc.plainSHA
	}
	return sc.oom, sc.sha
}

// run executes a script on one shard. A script the server does not know (restart,
// failover, SCRIPT FLUSH) was not executed; it is sent whole.
func (s *Store) run(ctx context.Context, c caller, sc *script, shard string, args ...any) (any, error) {
	if cluster, ok := c.(*redis.ClusterClient); ok {
		k := &call{shard: shard, args: args}
		s.runAtNodes(ctx, cluster, sc, []*call{k})
		return k.value, k.err
	}
	if err := s.detect(ctx); err != nil {
		return nil, notSent(sc.name, err)
	}
	text, hash := s.text(sc)
	keys := []string{shard}
	v, err := c.EvalSha(ctx, hash, keys, args...).Result()
	if err != nil && redis.HasErrorPrefix(err, "NOSCRIPT") {
		v, err = c.Eval(ctx, text, keys, args...).Result()
	}
	if errors.Is(err, redis.Nil) {
		v, err = nil, nil
	}
	if err != nil {
		return nil, wrap(sc.name, err)
	}
	return sc.answered(v)
}

// call is one script call of a pipeline.
type call struct {
	shard string
	args  []any
	value any
	err   error
}

// runAll executes many calls of one script in one round trip. Each call has its own
// answer; those the server did not know the script for are sent again, whole.
func (s *Store) runAll(ctx context.Context, c redis.UniversalClient, sc *script, calls []*call) {
	if cluster, ok := c.(*redis.ClusterClient); ok {
		s.runAtNodes(ctx, cluster, sc, calls)
		return
	}
	s.pipe(ctx, c.Pipeline, sc, calls, pipeline{})
}

// pipeline says how calls are sent.
type pipeline struct {
	whole   bool // the first call brings the script's text, which loads it for the others
	confirm bool // the server is to confirm the writes at the store's durability

	last func(redis.Pipeliner) // adds a command after all others, nil: none
}

func (s *Store) pipe(ctx context.Context, open func() redis.Pipeliner, sc *script, calls []*call, how pipeline) {
	if err := s.detect(ctx); err != nil {
		for _, k := range calls {
			k.err = notSent(sc.name, err)
		}
		return
	}
	whole, hash := s.text(sc)
	p := open()
	cmds := make([]*redis.Cmd, len(calls))
	for i, k := range calls {
		if i == 0 && how.whole {
			cmds[i] = p.Eval(ctx, whole, []string{k.shard}, k.args...)
			continue
		}
		cmds[i] = p.EvalSha(ctx, hash, []string{k.shard}, k.args...)
	}
	var confirmed *confirmation
	if how.confirm {
		confirmed = s.confirm(ctx, p, calls[0].shard)
	}
	if how.last != nil {
		how.last(p)
	}
	_, failed := p.Exec(ctx)
	var doubt error
	if confirmed != nil {
		doubt = s.unconfirmed(sc.name, confirmed)
	}
	var again []*call
	for i, k := range calls {
		k.value, k.err = cmds[i].Result()
		if k.err == nil && k.value == nil {
			// The set-up of a new connection was refused: nothing was sent, and go-redis gives the
			// refusal to Exec alone. An answer of nothing has an error: redis.Nil.
			k.err = unsent(sc.name, failed)
			continue
		}
		if k.err != nil && redis.HasErrorPrefix(k.err, "NOSCRIPT") {
			again = append(again, k)
			continue
		}
		if errors.Is(k.err, redis.Nil) {
			k.value, k.err = nil, nil
		}
		if k.err = wrap(sc.name, k.err); k.err != nil {
			continue
		}
		if k.value, k.err = sc.answered(k.value); k.err == nil {
			k.err = doubt
		}
	}
	if len(again) > 0 {
		// The text goes along with the first; the others go in the same round trip again. Each
		// round is shorter, so this ends even while somebody flushes the scripts.
		how.whole, how.last = true, nil
		s.pipe(ctx, open, sc, again, how)
	}
}
