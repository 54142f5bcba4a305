package sim

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"ringmaster/job"
	"ringmaster/resize"
)

func (x *serverSide) messages(entries []job.ControlEntry) []string {
	var out []resize.Message
	for _, e := range entries {
		m, err := resize.Decode(e.Fields)
		x.must(err)
		if m.Part >= 0 {
			for i, d := range m.Draining {
				m.Draining[i] = id(x.number(m.Part, d))
			}
			for p, cut := range m.SyncTo {
				m.SyncTo[p] = id(x.number(p, cut))
			}
			if m.ID != "" {
				m.ID = id(x.number(m.Part, m.ID))
			}
		}
		out = append(out, m)
	}
	return texts(out)
}

func (x *serverSide) inbox(inc string) []string {
	rows, err := x.raw.XRange(x.ctx, "rm:{q}:control:"+inc, "-", "+").Result()
	x.must(err)
	var entries []job.ControlEntry
	for _, row := range rows {
		e := job.ControlEntry{ID: row.ID, Fields: map[string]string{}}
		for k, v := range row.Values {
			e.Fields[k] = fmt.Sprint(v)
		}
		entries = append(entries, e)
	}
	return x.messages(entries)
}

func (x *serverSide) hash(name string) map[string]string {
	m, err := x.raw.HGetAll(x.ctx, "rm:{q}:"+name).Result()
	x.must(err)
	return m
}

func (x *serverSide) state() string {
	var b strings.Builder
	ring := x.hash("ring")
	moves := []int{}
	names, err := x.raw.SMembers(x.ctx, "rm:{q}:moves").Result()
	x.must(err)
	for _, m := range names {
		n, _ := strconv.Atoi(m)
		moves = append(moves, n)
	}
	slices.Sort(moves)
	fmt.Fprintf(&b, "ring epoch %s phase %s mode %s term %s moves %v\n", ring["epoch"], ring["phase"], cmpMode(ring["mode"]), ring["term"], moves)
	members, change, to := x.hash("members"), x.hash("change"), x.hash("replied:"+ring["epoch"])
	for _, inc := range slices.Sorted(maps.Keys(members)) {
		alive, err := x.raw.Exists(x.ctx, "rm:{q}:alive:"+inc).Result()
		x.must(err)
		replied := 0
		for phase := 1; phase <= 3; phase++ {
			if to[inc+" "+strconv.Itoa(phase)] != "" {
				replied = phase
			}
		}
		fmt.Fprintf(&b, "member %s leaving %v alive %v change %s replied %d\n", inc, strings.Contains(members[inc], `"leaving"`), alive == 1, change[inc], replied)
		for _, text := range x.inbox(inc) {
			fmt.Fprintf(&b, "  %s\n", text)
		}
	}
	owners, plan := x.hash("owner"), x.hash("plan")
	for p := range diffParts {
		x.partition(&b, p, owners[strconv.Itoa(p)], cmpOr(plan[strconv.Itoa(p)], "-"))
	}
	return b.String()
}

func cmpOr(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

func (x *serverSide) partition(b *strings.Builder, p int, owner, plan string) {
	stream := "rm:{q}:jobs:" + strconv.Itoa(p)
	groups, err := x.raw.XInfoGroups(x.ctx, stream).Result()
	x.must(err)
	var names []string
	delivered := ""
	for _, g := range groups {
		names = append(names, g.Name)
		delivered = g.LastDeliveredID
	}
	first, err := x.raw.XRangeN(x.ctx, stream, "-", "+", 1).Result()
	x.must(err)
	from := len(x.ids[p])
	if len(first) > 0 {
		from = x.number(p, first[0].ID) - 1
	}
	if x.parked[p] {
		from = -1
	}
	fmt.Fprintf(b, "partition %d of %s, plan %s, groups %v at %d, from %d\n", p, owner, plan, names, x.number(p, delivered), from)
	x.parkedJobs(b, p)
	inc, _, _ := strings.Cut(owner, " ")
	pending, err := x.raw.XPendingExt(x.ctx, &redis.XPendingExtArgs{Stream: stream, Group: inc, Start: "-", End: "+", Count: 10_000}).Result()
	x.must(err)
	for _, e := range pending {
		fmt.Fprintf(b, "  %d %s\n", x.number(p, e.ID), e.Consumer)
	}
	records := x.hash("retry:" + strconv.Itoa(p))
	lines := map[int]string{}
	for raw, record := range records {
		attempts, crashes := retryOf(record)
		n := x.number(p, raw)
		lines[n] = fmt.Sprintf("  %d attempts %d, not before %s, crashed %v\n", n, attempts, strings.Split(record, "|")[1], crashes > 0)
	}
	for _, n := range slices.Sorted(maps.Keys(lines)) {
		b.WriteString(lines[n])
	}
}

func (x *serverSide) parkedJobs(b *strings.Builder, p int) {
	index := "rm:{q}:parked:" + strconv.Itoa(p)
	keys, err := x.raw.ZRange(x.ctx, index, 0, -1).Result()
	x.must(err)
	slices.Sort(keys)
	for _, key := range keys {
		ids, err := x.raw.LRange(x.ctx, index+":"+key, 0, -1).Result()
		x.must(err)
		var numbers []int
		for _, id := range ids {
			numbers = append(numbers, x.number(p, id))
		}
		fmt.Fprintf(b, "  parked %s %v\n", key, numbers)
	}
}
