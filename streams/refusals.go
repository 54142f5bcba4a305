package streams

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"ringmaster/job"
)

// states are the states in which a server answers and does not do what it is told, by how it says so;
// lasting ones do not pass by themselves within moments.
var states = []struct {
	prefix  string
	text    string
	lasting bool
}{
	{"READONLY", "this server is a replica, and takes no writes: name the primary", true},
	{"MISCONF", "the server cannot write to its disk, and takes no writes until it can", true},
	{"NOREPLICAS", "fewer replicas are connected than the server's min-replicas-to-write asks for", true},
	{"NOAUTH", "the server asks for a password: set redis_password_file, and the user in the URL", true},
	{"WRONGPASS", "the server does not know this user and password: correct redis_password_file, which is read again for each new connection, or the URL", true},
	{"MASTERDOWN", "this server is a replica that has lost its primary", true},
	{"LOADING", "the server reads its data after a start", false},
	{"CLUSTERDOWN", "the cluster has no majority, or nobody has this slot", false},
	{"BUSY ", "a script holds the server", false},
	{"ERR max number of clients", "the server has as many connections as it takes (maxclients)", false},
}

// stateOf is what a refusal tells of the server's state; "" if err is none.
func stateOf(err error) (text string, lasting bool) {
	var answer redis.Error
	if !errors.As(err, &answer) {
		return "", false
	}
	for _, s := range states {
		if strings.HasPrefix(answer.Error(), s.prefix) {
			return s.text, s.lasting
		}
	}
	return "", false
}

// lastingRefusal is how long a server that refuses for a lasting reason is asked again: a primary
// that is being replaced says the same for moments.
const lastingRefusal = 700 * time.Millisecond

// Writable tries what a submission needs: a write that takes memory, at every server that holds jobs.
// The error says what state a server is in that refuses. It blocks for a round trip or two.
func (s *Store) Writable(ctx context.Context) error {
	probes := map[*redis.Client]string{} // in a cluster a shard of the server's own: its client follows no move
	if c, one := s.cmd.(*redis.Client); one {
		probes[c] = s.keys.namespace + ":"
	} else {
		queues, _, err := s.Queues(ctx)
		if err != nil {
			return err
		}
		for _, q := range queues {
			for sh := range q.Shards {
				shard := s.shard(q, sh)
				node, err := s.node(ctx, shard)
				if err != nil {
					return notSent("find the server of "+shard, err)
				}
				probes[node] = shard
			}
		}
	}
	for node, shard := range probes {
		err := wrap("try a write", node.Set(ctx, probeKey(shard), "", time.Millisecond).Err()) // it leaves nothing behind
		relocate(ctx, s, []*attempt{{shard: shard, err: err}})
		if errors.Is(err, job.ErrUnavailable) || errors.Is(err, job.ErrOutcomeUnknown) || errors.Is(err, job.ErrFull) || errors.Is(err, job.ErrNotPermitted) {
			return err
		}
	}
	return nil
}

// stateRisks are what a server tells of its memory, its role, its replicas and its disk. What it does
// not tell is no risk.
func stateRisks(info string, minReplicas int) []Risk {
	var out []Risk
	add := func(grave bool, name, value, what, remedy string) {
		out = append(out, Risk{Name: name, Value: value, Grave: grave, What: what, Remedy: remedy, State: true})
	}
	number := func(field string) int64 {
		n, _ := strconv.ParseInt(infoField(info, field), 10, 64) // 0: not told
		return n
	}
	if infoField(info, "role") == "slave" {
		add(true, "role", "replica", "this server is a replica of "+infoField(info, "master_host")+":"+infoField(info, "master_port")+": it takes no writes, so nothing works here", "name the primary, or use redis_mode sentinel")
	}
	if most, used := number("maxmemory"), number("used_memory"); most > 0 && used >= most {
		add(true, "memory", "full", fmt.Sprintf("memory is full (maxmemory is %d MiB): submissions are refused; jobs that are there go on", most>>20), "raise maxmemory, or let workers catch up; results, dead letters and journals take memory too")
	} else if most > 0 && used >= most/10*9 {
		add(false, "memory", "nearly full", fmt.Sprintf("more than nine tenths of maxmemory (%d MiB) are used: submissions are refused when it is full", most>>20), "raise maxmemory, or let workers catch up")
	}
	if infoField(info, "aof_last_write_status") == "err" {
		add(true, "append-only file", "err", "the last write to the append-only file failed: the server takes no writes until one succeeds", "look at the server's disk and its log")
	}
	if infoField(info, "rdb_last_bgsave_status") == "err" {
		add(true, "snapshot", "err", "the last snapshot failed: unless stop-writes-on-bgsave-error is no, the server takes no writes until one succeeds", "look at the server's disk and its log")
	}
	if good := infoField(info, "min_slaves_good_slaves"); good != "" && minReplicas > 0 {
		if n, err := strconv.Atoi(good); err == nil && n < minReplicas {
			add(true, "min-replicas-to-write", strconv.Itoa(minReplicas), fmt.Sprintf("%d replicas are connected, and the server takes writes from %d on", n, minReplicas), "start more replicas")
		}
	}
	return out
}

// stateOfServer asks one server how it is.
func stateOfServer(ctx context.Context, c *redis.Client) ([]Risk, error) {
	var info strings.Builder
	for _, section := range []string{"memory", "replication", "persistence"} {
		text, err := c.Info(ctx, section).Result()
		if err != nil && !Answered(err) {
			return nil, err
		}
		info.WriteString(text + "\n")
	}
	m, err := c.ConfigGet(ctx, "min-replicas-to-write").Result()
	if err != nil && !Answered(err) {
		return nil, err
	}
	least, _ := strconv.Atoi(m["min-replicas-to-write"]) // 0: not told, or none
	return stateRisks(info.String(), least), nil
}

// refusesWrites adds a risk for a server that refuses a write and tells no other reason.
func (in *Inspector) refusesWrites(ctx context.Context, found []Risk) []Risk {
	err := in.s.Writable(ctx)
	told := slices.ContainsFunc(found, func(r Risk) bool {
		return r.Grave && r.State
	})
	if err == nil || told || !Answered(err) {
		return found
	}
	return append(found, Risk{Name: "writes", Value: "refused", Grave: true, State: true, What: "a write was refused: " + err.Error(), Remedy: "look at the server's log"})
}
