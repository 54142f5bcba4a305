package streams

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"ringmaster/internal/failpoint"
	"ringmaster/job"
)

// Records are what a leader must know, read at one moment for each shard.
type Records struct {
	Term, Epoch, Generation uint64
	Phase                   int    // the highest of the shards
	Highest                 uint64 // ring epoch of any shard: after a failover of its server alone it is ahead
	Mode                    string
	Request, Answered       string
	Members                 []MemberRecord
	Owners                  []OwnerRecord // by partition
	Plan                    []string      // by partition
	Moves                   []int
	Replied                 map[string]int // highest phase of the present ring epoch that each member replied to in every shard
	ServerTime              time.Time
	Missing                 []int // partitions without an owner record
}

// MemberRecord is one member as the leader sees it.
type MemberRecord struct {
	job.MemberInfo
	LeaseLeft time.Duration // negative: the liveness key is gone
}

// OwnerRecord is who owns a partition.
type OwnerRecord struct {
	Incarnation string // "-": nobody
	Epoch       uint64
}

// Look reads the records of all shards. Who is a member is said by the first shard. One
// that others still list, with its lease gone there, comes with the state "gone": an
// eviction, a leave or a join broke off half way, and evicting it ends what is left of it.
func (r *Ring) Look(ctx context.Context) (Records, error) {
	calls := make([]*call, r.q.Shards)
	for sh := range calls {
		calls[sh] = &call{shard: r.s.shard(r.q, sh)}
	}
	r.s.runAll(ctx, r.s.cmd, &r.s.scripts.look, calls)
	rec := Records{Owners: make([]OwnerRecord, r.q.Partitions), Plan: make([]string, r.q.Partitions)}
	replies := make([]map[string]int, len(calls))
	for sh, k := range calls {
		if k.err != nil {
			return Records{}, k.err
		}
		replies[sh] = rec.add(sh, list(k.value))
	}
	rec.Replied = replies[0]
	for _, other := range replies[1:] {
		for inc, phase := range rec.Replied {
			rec.Replied[inc] = min(phase, other[inc])
		}
	}
	for p, o := range rec.Owners {
		if o.Incarnation == "" {
			rec.Missing = append(rec.Missing, p)
			rec.Owners[p].Incarnation = "-"
		}
	}
	if failpoint.Enabled {
		failpoint.Hit(rec.moment())
	}
	return rec, nil
}

// moment is where in a resize the ring was found.
func (rec *Records) moment() failpoint.Point {
	switch {
	case rec.Phase == 1 && rec.Mode == "ring" && len(rec.Moves) == 0:
		return failpoint.D4
	case rec.Phase == 1 && len(rec.Moves) > 0 && len(rec.Replied) > 0:
		return failpoint.D3
	case rec.Phase == 2 && len(rec.Replied) > 0:
		for _, phase := range rec.Replied {
			if phase >= 2 {
				return failpoint.D5
			}
		}
	}
	return ""
}

func (rec *Records) add(shard int, l []any) map[string]int {
	ring := pairs(at(l, 0))
	phase, _ := strconv.Atoi(ring["phase"])
	rec.Phase = max(rec.Phase, phase)
	rec.Highest = max(rec.Highest, number(ring["epoch"]))
	if shard == 0 {
		rec.Term, rec.Epoch, rec.Mode = number(ring["term"]), number(ring["epoch"]), ring["mode"]
		rec.Generation, rec.Request, rec.Answered = number(ring["generation"]), ring["request"], ring["answered"]
		s, us := number(at(list(at(l, 7)), 0)), number(at(list(at(l, 7)), 1))
		rec.ServerTime = time.Unix(int64(s), int64(us)*1000)
	}
	rec.addMembers(shard, list(at(l, 1)), list(at(l, 2)))
	for f, v := range pairs(at(l, 3)) {
		p, err := strconv.Atoi(f)
		inc, epoch, ok := ownerRecord(v)
		if err == nil && ok && p >= 0 && p < len(rec.Owners) {
			rec.Owners[p] = OwnerRecord{inc, epoch}
		}
	}
	for f, v := range pairs(at(l, 4)) {
		if p, err := strconv.Atoi(f); err == nil && p >= 0 && p < len(rec.Plan) {
			rec.Plan[p] = v
		}
	}
	for _, f := range texts(at(l, 5)) {
		if p, err := strconv.Atoi(f); err == nil {
			rec.Moves = append(rec.Moves, p)
		}
	}
	replies := map[string]int{}
	for inc, phase := range pairs(at(l, 6)) {
		replies[inc] = int(number(phase))
	}
	return replies
}

func (rec *Records) addMembers(shard int, members, left []any) {
	for i := 0; i+1 < len(members); i += 2 {
		m := MemberRecord{LeaseLeft: -1}
		// A member record that is not readable is a member all the same: it can be evicted.
		_ = json.Unmarshal([]byte(text(members[i+1])), &m.MemberInfo)
		m.Incarnation = text(members[i])
		if ms, ok := at(left, i/2).(int64); ok && ms > 0 {
			m.LeaseLeft = time.Duration(ms) * time.Millisecond
		}
		if shard > 0 {
			listed := slices.ContainsFunc(rec.Members, func(o MemberRecord) bool { return o.Incarnation == m.Incarnation })
			if listed || m.LeaseLeft > 0 {
				continue
			}
			m.State = "gone"
		}
		rec.Members = append(rec.Members, m)
	}
}
