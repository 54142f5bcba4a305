package streams

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"ringmaster/internal/failpoint"
	"ringmaster/job"
)

// Records are what a leader must know: of each shard at one moment, or page by page under one plan.
type Records struct {
	Term, Epoch, Generation uint64
	Phase                   int           // the highest of the shards
	Highest                 uint64        // ring epoch of any shard: after a failover of its server alone it is ahead
	Shards                  []ShardRecord // what each shard has of its own
	Mode                    string
	Request, Answered       string
	Members                 []MemberRecord
	Owners                  []OwnerRecord // by partition
	Plan                    []string      // by partition
	Moves                   []int         // partitions that are not at their planned owner
	ServerTime              time.Time
	Missing                 []int // partitions without an owner record
}

// ShardRecord is where a shard stands.
type ShardRecord struct {
	Epoch   uint64 // ring epoch
	Phase   int
	Mode    string
	Replied map[string]int // highest phase of that ring epoch that each member replied to
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

// A call that takes as many members and partitions as there may be would hold the server for
// milliseconds. Rings of up to a page are read in one step.
const (
	lookMembers = 128
	lookParts   = 256
)

// Look reads the records of all shards. Who is a member is said by the first shard. One
// that others still list, with its lease gone there, comes with the state "gone": an
// eviction, a leave or a join broke off half way, and evicting it ends what is left of it.
//
// A large ring is read in pages, each at one moment, under one plan: when that becomes
// another, Look begins anew. In between an owner may change. Whatever is decided on one owner or
// member is compared by the script that does it.
func (r *Ring) Look(ctx context.Context) (Records, error) {
	for {
		rec, whole, err := r.look(ctx)
		if err != nil {
			return Records{}, err
		}
		if !whole {
			continue
		}
		if failpoint.Enabled {
			failpoint.Hit(rec.moment())
		}
		return rec, nil
	}
}

// look reads all pages; whole is false if a plan came in between.
func (r *Ring) look(ctx context.Context) (rec Records, whole bool, err error) {
	rec = Records{Owners: make([]OwnerRecord, r.q.Partitions), Plan: make([]string, r.q.Partitions)}
	shards := make([]looked, r.q.Shards)
	for sh := range shards {
		shards[sh] = looked{cursor: "0", first: sh, ShardRecord: ShardRecord{Replied: map[string]int{}}}
	}
	for begins := true; ; begins = false {
		var calls []*call
		var of []int
		for sh := range shards {
			if l := &shards[sh]; begins || l.cursor != "" || l.first < r.q.Partitions {
				last := min(l.first+(lookParts-1)*r.q.Shards, r.q.Partitions-1)
				calls = append(calls, &call{shard: r.s.shard(r.q, sh), args: []any{l.cursor, lookMembers, l.first, last, r.q.Shards}})
				of = append(of, sh)
			}
		}
		if len(calls) == 0 {
			rec.join(shards)
			return rec, true, nil
		}
		r.s.runAll(ctx, r.s.cmd, &r.s.scripts.look, calls)
		for i, k := range calls {
			if k.err != nil {
				return rec, false, k.err
			}
			epoch := shards[of[i]].Epoch
			rec.add(&shards[of[i]], of[i] == 0 && begins, r.q.Shards, list(k.value))
			if !begins && shards[of[i]].Epoch != epoch {
				return rec, false, nil
			}
		}
	}
}

// looked is what was read of a shard.
type looked struct {
	ShardRecord
	cursor  string // of the next members; empty: all were read
	first   int    // partition of the next page
	members []MemberRecord
}

// add takes a page. What is said once for all shards is in the first of the first.
func (rec *Records) add(sh *looked, heads bool, step int, l []any) {
	ring := pairs(at(l, 0))
	sh.Epoch, sh.Mode = number(ring["epoch"]), ring["mode"]
	sh.Phase, _ = strconv.Atoi(ring["phase"])
	if heads {
		rec.Term, rec.Epoch, rec.Mode = number(ring["term"]), sh.Epoch, sh.Mode
		rec.Generation, rec.Request, rec.Answered = number(ring["generation"]), ring["request"], ring["answered"]
		s, us := number(at(list(at(l, 6)), 0)), number(at(list(at(l, 6)), 1))
		rec.ServerTime = time.Unix(int64(s), int64(us)*1000)
	}
	sh.addMembers(list(at(l, 1)), list(at(l, 2)))
	if sh.cursor = text(at(l, 7)); sh.cursor == "0" {
		sh.cursor = ""
	}
	owners, plan := list(at(l, 3)), list(at(l, 4))
	for i := 0; i < lookParts && sh.first < len(rec.Owners); i++ {
		if inc, epoch, ok := ownerRecord(text(at(owners, i))); ok {
			rec.Owners[sh.first] = OwnerRecord{inc, epoch}
		}
		rec.Plan[sh.first] = text(at(plan, i))
		sh.first += step
	}
	for inc, phase := range pairs(at(l, 5)) {
		sh.Replied[inc] = int(number(phase))
	}
}

func (sh *looked) addMembers(members, left []any) {
	for i := 0; i+1 < len(members); i += 2 {
		m := MemberRecord{LeaseLeft: -1}
		// A member record that is not readable is a member all the same: it can be evicted.
		_ = json.Unmarshal([]byte(text(members[i+1])), &m.MemberInfo)
		m.Incarnation = text(members[i])
		if ms, ok := at(left, i/2).(int64); ok && ms > 0 {
			m.LeaseLeft = time.Duration(ms) * time.Millisecond
		}
		sh.members = append(sh.members, m)
	}
}

// join puts together what was read of all shards.
func (rec *Records) join(shards []looked) {
	listed := map[string]bool{}
	for sh := range shards {
		l := &shards[sh]
		rec.Phase, rec.Highest = max(rec.Phase, l.Phase), max(rec.Highest, l.Epoch)
		rec.Shards = append(rec.Shards, l.ShardRecord)
		for _, m := range l.members {
			if listed[m.Incarnation] || sh > 0 && m.LeaseLeft > 0 {
				continue // a page may show a member once more
			}
			if listed[m.Incarnation] = true; sh > 0 {
				m.State = "gone"
			}
			rec.Members = append(rec.Members, m)
		}
	}
	for p, o := range rec.Owners {
		if o.Incarnation == "" {
			rec.Missing = append(rec.Missing, p)
			rec.Owners[p].Incarnation = "-"
		} else if to := rec.Plan[p]; to != "" && to != "-" && to != o.Incarnation {
			rec.Moves = append(rec.Moves, p)
		}
	}
}

// moment is where in a resize the ring was found.
func (rec *Records) moment() failpoint.Point {
	first := rec.Shards[0]
	switch {
	case rec.Phase == 1 && rec.Mode == "ring" && len(rec.Moves) == 0:
		return failpoint.D4
	case rec.Phase == 1 && len(rec.Moves) > 0 && len(first.Replied) > 0:
		return failpoint.D3
	case rec.Phase == 2:
		for _, phase := range first.Replied {
			if phase >= 2 {
				return failpoint.D5
			}
		}
	}
	return ""
}
