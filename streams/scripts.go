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
	"ringmaster/job"
)

//go:embed lua/*.lua
var luaFiles embed.FS

// lua is one Lua file with the parts it uses put before it. Redis keeps scripts by
// the hash of their text; allow-oom scripts have two texts, because the in-memory store
// does not know the flag.
type lua struct {
	name          string
	plain, oom    string
	plainSHA, sha string
}

// script is a Lua file and how its answer is read. A is what an answer says; read reports whether a value
// can be one.
type script[A any] struct {
	lua
	read func(v any) (A, bool)
}

// scripts are all scripts, loaded once per Store.
type scripts struct {
	create, reserve, discard, resign, reclaim, confirm script[int]
	enqueue, ack                                       script[eachText]
	enqueueOnce                                        script[onceAnswer]
	requeue                                            script[requeued]
	mark, leave, evict                                 script[string]
	revoke, advance                                    script[verdict]
	plan, steal                                        script[verdict]
	repair                                             script[repaired]
	release                                            script[job.ReleaseAnswer]
	claim                                              script[claimPage]
	skim                                               script[skimmed]
	unpark                                             script[unparked]
	join                                               script[joined]
	heartbeat                                          script[job.Beat]
	snapshot                                           script[owned]
	report                                             script[phaseSeen]
	lead                                               script[lease]
	look                                               script[lookPage]
	permits                                            script[[]HeldPermit]
	doubt                                              script[[]doubted]
	state                                              script[*facts]
	counts                                             script[[]partCounts]
	key                                                script[keyFound]
	request                                            script[requested]
	audit                                              script[[]Sighting]
	ids                                                script[idsPage]
	held                                               script[[]string]
	renew                                              script[generation]

	names map[string]string // by hash
}

// anyScript is a script, whatever it answers.
type anyScript interface {
	file() *lua
	accepts(v any) bool
}

func (l *lua) file() *lua { return l }

// of says which file a script is, and how its answer is read.
func (sc *script[A]) of(name string, read func(v any) (A, bool)) anyScript {
	sc.name, sc.read = name, read
	return sc
}

// all are the scripts, with their readers.
func (s *scripts) all() []anyScript {
	return []anyScript{
		s.create.of("create", countOf), s.enqueue.of("enqueue", readEachText), s.enqueueOnce.of("enqueue_once", readOnce),
		s.reserve.of("reserve", countOf), s.requeue.of("requeue", readRequeued), s.discard.of("discard", countOf),
		s.ack.of("ack", readEachText), s.mark.of("mark", oneOf("OK", "FENCED")), s.release.of("release", readReleased),
		s.claim.of("claim", readClaimed), s.skim.of("skim", readSkimmed), s.unpark.of("unpark", readUnparked),
		s.join.of("join", readJoined), s.heartbeat.of("heartbeat", readBeat), s.leave.of("leave", oneOf("OK", "GONE")),
		s.snapshot.of("snapshot", readOwned), s.report.of("report", readReported), s.lead.of("lead", readLease),
		s.resign.of("resign", countOf), s.look.of("look", readLook), s.plan.of("plan", readPlanned), s.steal.of("steal", readStolen),
		s.evict.of("evict", oneOf("STALE", "GONE", "ALIVE", "EVICTED")), s.revoke.of("revoke", readRevoked),
		s.permits.of("permits", readPermits), s.repair.of("repair", readRepaired), s.advance.of("advance", readAdvanced),
		s.state.of("state", readState), s.counts.of("counts", readCounts), s.key.of("key", readKeyPage),
		s.request.of("request", readRequested), s.audit.of("audit", readSightings), s.ids.of("ids", readIDs),
		s.held.of("held", readTexts), s.reclaim.of("reclaim", countOf), s.renew.of("renew", readGeneration),
		s.confirm.of("confirm", countOf), s.doubt.of("doubt", readDoubted),
	}
}

// Scripts that only bring work forward must run when memory is full, or nothing would
// ever free it (redis.io, "Eval scripts", flags). A worker that joins is one of them: where
// all have ended, nobody else drains.
var growing = map[string]bool{"create": true, "enqueue": true, "enqueue_once": true, "reserve": true, "requeue": true}

func loadScripts() (*scripts, error) {
	s := &scripts{names: map[string]string{}}
	for _, sc := range s.all() {
		f := sc.file()
		text, err := scriptText(f.name)
		if err != nil {
			return nil, err
		}
		f.plain, f.oom = text, text
		if !growing[f.name] {
			f.oom = "#!lua flags=allow-oom\n" + text
		}
		f.plainSHA, f.sha = sha(f.plain), sha(f.oom)
		s.names[f.plainSHA], s.names[f.sha] = f.name, f.name
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

func (s *Store) text(sc *lua) (text, hash string) {
	if s.flavor.v.Load() == flavorMini {
		return sc.plain, sc.plainSHA
	}
	return sc.oom, sc.sha
}

// run executes a script on one shard. A script the server does not know (restart,
// failover, SCRIPT FLUSH) was not executed; it is sent whole.
func run[A any](ctx context.Context, s *Store, c caller, sc *script[A], shard string, args ...any) (A, error) {
	if cluster, ok := c.(*redis.ClusterClient); ok {
		k := &call[A]{shard: shard, args: args}
		runAtNodes(ctx, s, cluster, sc, []*call[A]{k})
		return k.answer, k.err
	}
	var none A
	if err := s.detect(ctx); err != nil {
		return none, notSent(sc.name, err)
	}
	text, hash := s.text(&sc.lua)
	keys := []string{shard}
	v, err := c.EvalSha(ctx, hash, keys, args...).Result()
	if err != nil && redis.HasErrorPrefix(err, "NOSCRIPT") {
		v, err = c.Eval(ctx, text, keys, args...).Result()
	}
	if errors.Is(err, redis.Nil) {
		v, err = nil, nil
	}
	if err != nil {
		return none, wrap(sc.name, err)
	}
	return sc.answered(v)
}

// call is one script call of a pipeline.
type call[A any] struct {
	shard  string
	args   []any
	answer A
	err    error
}

// attempt is what was tried at a shard without a script.
type attempt = call[struct{}]

// runAll executes many calls of one script in one round trip. Each call has its own
// answer; those the server did not know the script for are sent again, whole.
func runAll[A any](ctx context.Context, s *Store, c redis.UniversalClient, sc *script[A], calls []*call[A]) {
	if cluster, ok := c.(*redis.ClusterClient); ok {
		runAtNodes(ctx, s, cluster, sc, calls)
		return
	}
	pipe(ctx, s, c.Pipeline, sc, calls, pipeline{})
}

// pipeline says how calls are sent.
type pipeline struct {
	whole   bool // the first call brings the script's text, which loads it for the others
	confirm bool // the server is to confirm the writes at the store's durability

	last func(redis.Pipeliner) // adds a command after all others, nil: none
}

func pipe[A any](ctx context.Context, s *Store, open func() redis.Pipeliner, sc *script[A], calls []*call[A], how pipeline) {
	if err := s.detect(ctx); err != nil {
		for _, k := range calls {
			k.err = notSent(sc.name, err)
		}
		return
	}
	whole, hash := s.text(&sc.lua)
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
	var again []*call[A]
	for i, k := range calls {
		v, err := cmds[i].Result()
		switch {
		case err == nil && v == nil:
			// The set-up of a new connection was refused: nothing was sent, and go-redis gives the
			// refusal to Exec alone. An answer of nothing has an error: redis.Nil.
			k.err = unsent(sc.name, failed)
			continue
		case err != nil && redis.HasErrorPrefix(err, "NOSCRIPT"):
			again = append(again, k)
			continue
		case errors.Is(err, redis.Nil):
			v, err = nil, nil
		}
		if k.err = wrap(sc.name, err); k.err != nil {
			continue
		}
		if k.answer, k.err = sc.answered(v); k.err == nil {
			k.err = doubt
		}
	}
	if len(again) > 0 {
		// The text goes along with the first; the others go in the same round trip again. Each
		// round is shorter, so this ends even while somebody flushes the scripts.
		how.whole, how.last = true, nil
		pipe(ctx, s, open, sc, again, how)
	}
}
