package streams

import (
	"strconv"
	"strings"
)

// DefaultNamespace is the first part of every key.
const DefaultNamespace = "rm"

// keyspace builds every key that exists. All keys of one queue shard carry one hash
// tag, so that they are in one slot of a Redis Cluster and scripts may touch them
// together.
//
//	key                     type    written by              lifetime
//	<ns>:queues             hash    whoever creates a queue for ever
//	<shard>jobs:<p>         stream  producers               trimmed below the low-water mark
//	<shard>owner            hash    flip, create            for ever
//	<shard>plan             hash    plan                    for ever
//	<shard>ring             hash    create, plan, flip      for ever
//	<shard>moves            set     plan, flip              while a resize runs
//	<shard>members          hash    join, leave, evict      for ever
//	<shard>change           hash    flip, revoke, ack       a field per member
//	<shard>calls            hash    ack                     a field per member that parked or failed
//	<shard>beats            hash    join, heartbeat         a field per member
//	<shard>leader           hash    lead                    leader lease
//	<shard>control          stream  plan, flip, join...     bounded (about 10,000)
//	<shard>control:<w>      stream  plan, flip, ack...      bounded (about 1,000), expires
//	<shard>acks:<E>         hash    release, report         1 h
//	<shard>replied:<E>      hash    release, report         1 h
//	<shard>alive:<w>        string  join, heartbeat         worker lease
//	<shard>deaths           hash    evict, heartbeat        a day
//	<shard>retry:<p>        hash    ack, mark, steal        a field per job that failed
//	<shard>parked:<p>       zset    ack, skim, unpark       a member per key with parked jobs
//	<shard>parked:<p>:<key> list    ack, skim, unpark       ids of parked jobs, in order
//	<shard>dead:<p>         hash    ack                     until requeued or removed
//	<shard>result:<id>      string  ack                     24 h
//	<shard>journal:<p>      stream  ack                     for ever (only queues with a journal)
//	<shard>producer:<id>    hash    enqueue                 24 h after the last batch
//	<shard>idem:<key>       string  enqueue_once, reserve   24 h
//	<shard>gaps             hash    renew, create, repair   32 pairs of ids per partition
//	<shard>deleted          hash    claim, flip, unpark     32 pairs of ids per partition
//	<shard>confirm          string  before WAIT, WAITAOF    for ever
//	<ns>:probe              string  Writable                1 ms; in a cluster <shard>probe
//
// <shard> is "<ns>:{<queue>}:" for a queue of one shard, "<ns>:{<queue>/<s>}:" else.
type keyspace struct{ namespace string }

func (k keyspace) queues() string { return k.namespace + ":queues" }

// shard is the prefix of all keys of shard s.
func (k keyspace) shard(queue string, shards, s int) string {
	if shards <= 1 {
		return k.namespace + ":{" + queue + "}:"
	}
	return k.namespace + ":{" + queue + "/" + strconv.Itoa(s) + "}:"
}

func jobsKey(shard string, p int) string    { return shard + "jobs:" + strconv.Itoa(p) }
func inboxKey(shard, inc string) string     { return shard + "control:" + inc }
func controlKey(shard string) string        { return shard + "control" }
func probeKey(prefix string) string         { return prefix + "probe" }
func aliveKey(shard, inc string) string     { return shard + "alive:" + inc }
func deadKey(shard string, p int) string    { return shard + "dead:" + strconv.Itoa(p) }
func retryKey(shard string, p int) string   { return shard + "retry:" + strconv.Itoa(p) }
func journalKey(shard string, p int) string { return shard + "journal:" + strconv.Itoa(p) }

// partitionOfStream is the p of "<shard>jobs:<p>".
func partitionOfStream(stream string) (int, bool) {
	i := strings.LastIndexByte(stream, ':')
	if i < 0 {
		return 0, false
	}
	p, err := strconv.Atoi(stream[i+1:])
	return p, err == nil
}
