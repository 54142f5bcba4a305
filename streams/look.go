package streams

import (
	"context"
	"encoding/json"
	"maps"
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
		var calls []*call[lookPage]
		var of []int
		for sh := range shards {
			if l := &shards[sh]; begins || l.cursor != "" || l.first < r.q.Partitions {
				last := min(l.first+(lookParts-1)*r.q.Shards, r.q.Partitions-1)
				calls = append(calls, &call[lookPage]{shard: r.s.shard(r.q, sh), args: []any{l.cursor, lookMembers, l.first, last, r.q.Shards}})
				of = append(of, sh)
			}
		}
		if len(calls) == 0 {
			rec.join(shards)
			return rec, true, nil
		}
		runAll(ctx, r.s, r.s.cmd, &r.s.scripts.look, calls)
		for i, k := range calls {
			if k.err != nil {
				return rec, false, k.err
			}
			epoch := shards[of[i]].Epoch
			if !rec.add(&shards[of[i]], of[i] == 0 && begins, r.q.Shards, k.answer) {
				misfit(&r.s.scripts.look, k)
				return rec, false, k.err
			}
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

// lookPage is a page of what look.lua tells of a shard.
type lookPage struct {
	ring         map[string]string // fields of the record that are there
	members      []MemberRecord
	owners, plan []string       // of a run of partitions; "": there is no such field
	replied      map[string]int // highest phase that each of the members replied to
	time         time.Time
	cursor       string // of the next members; "0": that was all
}

func readLook(v any) (lookPage, bool) {
	a := lookPage{ring: map[string]string{}, replied: map[string]int{}}
	r := listOf(v)
	r.flat(func(l *items) {
		name := l.text()
		a.ring[name] = l.text()
	})
	r.flat(func(l *items) {
		m := MemberRecord{LeaseLeft: -1}
		inc := l.text()
		// A member record that is not readable is a member all the same: it can be evicted.
		_ = json.Unmarshal([]byte(l.text()), &m.MemberInfo)
		m.Incarnation = inc
		a.members = append(a.members, m)
	})
	i := 0
	r.flat(func(l *items) {
		ms, ok := l.next().(int64)
		if l.must(ok && i < len(a.members)); l.spoilt {
			return
		}
		if ms > 0 {
			a.members[i].LeaseLeft = time.Duration(ms) * time.Millisecond
		}
		i++
	})
	r.must(i == len(a.members))
	for _, of := range []*[]string{&a.owners, &a.plan} {
		r.flat(func(l *items) { *of = append(*of, l.perhaps()) })
	}
	r.must(len(a.owners) == len(a.plan))
	r.flat(func(l *items) {
		inc := l.text()
		a.replied[inc] = l.count()
	})
	a.time = r.time()
	a.cursor = r.text()
	return a, r.whole()
}

// time is what TIME says.
func (r *items) time() time.Time {
	l := r.list()
	t := time.Unix(int64(l.number()), int64(l.number())*1000)
	r.must(l.whole())
	return t
}

// add takes a page. What is said once for all shards is in the first of the first. It reports false if the
// page is not of the partitions that were asked for.
func (rec *Records) add(sh *looked, heads bool, step int, a lookPage) bool {
	sh.Epoch, sh.Mode = recorded(a.ring["epoch"]), a.ring["mode"]
	sh.Phase, _ = strconv.Atoi(a.ring["phase"])
	if heads {
		rec.Term, rec.Epoch, rec.Mode = recorded(a.ring["term"]), sh.Epoch, sh.Mode
		rec.Generation, rec.Request, rec.Answered = recorded(a.ring["generation"]), a.ring["request"], a.ring["answered"]
		rec.ServerTime = a.time
	}
	sh.members = append(sh.members, a.members...)
	if sh.cursor = a.cursor; sh.cursor == "0" {
		sh.cursor = ""
	}
	asked := min(lookParts, (max(len(rec.Owners)-sh.first, 0)+step-1)/step)
	if len(a.owners) != asked {
		return false
	}
	for i, record := range a.owners {
		if inc, epoch, ok := ownerRecord(record); ok {
			rec.Owners[sh.first] = OwnerRecord{inc, epoch}
		}
		rec.Plan[sh.first] = a.plan[i]
		sh.first += step
	}
	maps.Copy(sh.Replied, a.replied)
	return true
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
