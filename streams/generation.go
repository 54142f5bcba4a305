package streams

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"ringmaster/job"
)

// errReplica: the connection leads to a server that is no primary (any more).
var errReplica = answerError("READONLY the server is a replica")

// asker is a connection, or a client of one server.
type asker interface {
	caller
	Info(ctx context.Context, section ...string) *redis.StringCmd
}

// serverID names the server's process and its tenure as a primary: another after a
// restart, and after every promotion. "" if the server does not tell.
func (s *Store) serverID(ctx context.Context, c asker) (string, error) {
	if s.Embedded() {
		return "", nil
	}
	id := ""
	for _, section := range []string{"server", "replication"} {
		info, err := c.Info(ctx, section).Result()
		if err != nil && (executed(err) || redis.HasErrorPrefix(err, "NOPERM")) {
			return "", nil
		}
		if err != nil {
			return "", wrap("ask who the server is", err)
		}
		if infoField(info, "role") == "slave" {
			return "", notSent("ask who the server is", errReplica)
		}
		id += infoField(info, "run_id") + infoField(info, "master_replid")
	}
	return id, nil
}

func infoField(info, name string) string {
	for line := range strings.Lines(info) {
		if v, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimRight(v, "\r\n")
		}
	}
	return ""
}

// renew begins a new generation of a shard if its server is another one than the records
// name, and tells which it is. Every reader does so before it reads on a new connection, so
// no tenure that a failover may have taken back is taken up under its old numbers.
func (s *Store) renew(ctx context.Context, c asker, shard string) (string, error) {
	if err := s.detect(ctx); err != nil {
		return "", notSent("ask who the server is", err)
	}
	id, err := s.serverID(ctx, c)
	if err != nil || id == "" {
		return id, err
	}
	_, err = run(ctx, s, c, &s.scripts.renew, shard, id, time.Now().UnixMilli())
	return id, err
}

// generation is a shard's, and whether a call began it.
type generation struct {
	number uint64
	begun  bool
}

func readGeneration(v any) (generation, bool) {
	r := listOf(v)
	a := generation{number: r.recorded(), begun: r.word("", "1") == "1"}
	return a, r.whole()
}

// meet is renew, once, before this process adds its first job to a shard. From then on greet
// does the same for every new connection.
func (s *Store) meet(ctx context.Context, shard string) error {
	s.mu.Lock()
	_, known := s.met[shard]
	s.mu.Unlock()
	if known {
		return nil
	}
	node, err := s.node(ctx, shard)
	if err != nil {
		return notSent("find the server of "+shard, err)
	}
	id, err := s.renew(ctx, node, shard)
	if unanswered(err) {
		relocate(ctx, s, []*attempt{{shard: shard, err: err}})
		return notSent("ask who the server is", err)
	}
	s.mu.Lock()
	s.met[shard] = id
	s.mu.Unlock()
	return nil
}

// greeted is greet, after what a caller's own client does first.
func (s *Store) greeted(first func(context.Context, *redis.Conn) error) func(context.Context, *redis.Conn) error {
	if first == nil {
		return s.greet
	}
	return func(ctx context.Context, c *redis.Conn) error {
		if err := first(ctx, c); err != nil {
			return err
		}
		return s.greet(ctx, c)
	}
}

// greet is the first that is done on a connection for commands. What this process adds must
// come after the note of what a new server lacks: see part_gap.lua. Where the user may not
// note it, whoever may does so later, and what was added meanwhile hides a part of the gap.
func (s *Store) greet(ctx context.Context, c *redis.Conn) error {
	s.mu.Lock()
	met := maps.Clone(s.met)
	s.mu.Unlock()
	if len(met) == 0 {
		return nil
	}
	id, err := s.serverID(ctx, c)
	if err != nil {
		return greeting(err)
	}
	if id == "" {
		return nil
	}
	for shard, server := range met {
		if server == id {
			continue
		}
		if err := s.divided(ctx, map[string]string{shard: ""})[shard]; err != nil {
			return greeting(err)
		}
		text, hash := s.text(&s.scripts.renew.lua)
		args := []any{id, time.Now().UnixMilli()}
		err := c.EvalSha(ctx, hash, []string{shard}, args...).Err()
		if redis.HasErrorPrefix(err, "NOSCRIPT") {
			err = c.Eval(ctx, text, []string{shard}, args...).Err()
		}
		switch {
		case redis.HasErrorPrefix(err, "MOVED"): // another node has this shard
			continue
		case unanswered(err):
			return greeting(err)
		}
		s.mu.Lock()
		s.met[shard] = id
		s.mu.Unlock()
	}
	return nil
}

// unanswered: whether a new generation had to begin is not known. A server that refuses the
// script, as to a user without the rights, has answered.
func unanswered(err error) bool {
	return err != nil && !executed(err) && !notPermitted(err.Error())
}

// greeting is the error of what is done first on a connection: that was not made then, and what it was
// made for was not sent. go-redis takes one layer off; and what became of the greeting itself, which may
// not be known, is not what became of that.
func greeting(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, job.ErrOutcomeUnknown) {
		err = errors.New(err.Error())
	}
	return fmt.Errorf("connect: %w", dialError(err))
}

// dialError says that a connection was not made: no command was sent on it.
func dialError(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }

// Renew begins a new generation in every shard whose server was restarted or replaced, and
// tells which servers hold the queue: their names change when a server does. "" if a server
// does not tell.
func (r *Ring) Renew(ctx context.Context) (string, error) {
	var ids []string
	for sh := range r.q.Shards {
		shard := r.s.shard(r.q, sh)
		node, err := r.s.node(ctx, shard)
		if err != nil {
			return "", notSent("find the server of "+shard, err)
		}
		id, err := r.s.renew(ctx, node, shard)
		if err != nil {
			relocate(ctx, r.s, []*attempt{{shard: shard, err: err}})
			return "", fmt.Errorf("shard %d: %w", sh, err)
		}
		if id == "" {
			return "", nil
		}
		ids = append(ids, id)
	}
	return strings.Join(ids, " "), nil
}
