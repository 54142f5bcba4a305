package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// diffGen makes operations that are mostly to the point, and some that are late, doubled
// or by the wrong party.
type diffGen struct {
	rnd  *rand.Rand
	m    *modelSide
	made int
	past []string // incarnations that ever joined
	park bool     // jobs are set aside in this history
}

func (g *diffGen) one(of []string) string {
	if len(of) == 0 {
		return "nobody.0"
	}
	return of[g.rnd.IntN(len(of))]
}

func (g *diffGen) members() []string {
	var out []string
	for inc := range g.m.s.members {
		out = append(out, inc)
	}
	slices.Sort(out)
	return out
}

// who is a member, or now and then anybody who ever was.
func (g *diffGen) who() string {
	if g.rnd.IntN(8) == 0 {
		return g.one(g.past)
	}
	return g.one(g.members())
}

// tenure is that of a partition as it is, or a little older or newer, with its owner or
// another.
func (g *diffGen) tenure() (inc string, p int, epoch uint64) {
	p = g.rnd.IntN(diffParts)
	owner := g.m.s.parts[p].owner
	inc, epoch = owner.Incarnation, owner.Epoch
	if inc == "-" || g.rnd.IntN(10) == 0 {
		inc = g.who()
	}
	if g.rnd.IntN(12) == 0 {
		epoch = uint64(max(0, int(epoch)+g.rnd.IntN(3)-1))
	}
	return inc, p, epoch
}

func (g *diffGen) term() uint64 {
	if g.m.s.term > 0 && g.rnd.IntN(15) == 0 {
		return g.m.s.term - 1
	}
	return g.m.s.term
}

func (g *diffGen) entry(p int) int {
	part := g.m.s.parts[p]
	if open := part.pending(); len(open) > 0 && g.rnd.IntN(6) > 0 {
		return open[g.rnd.IntN(len(open))]
	}
	if part.delivered == 0 {
		return 0
	}
	return 1 + g.rnd.IntN(part.delivered)
}

var diffKeys = []string{"a", "b", "c", "d", "e", "f", "g"}

// next is weighted so that jobs flow, partitions move and members come and go.
func (g *diffGen) next() op {
	members := len(g.m.s.members)
	switch n := g.rnd.IntN(100); {
	case members == 0 || n < 5 && members < 4:
		g.made++
		inc := fmt.Sprintf("w%d.i%d", g.rnd.IntN(4), g.made)
		g.past = append(g.past, inc)
		return op{verb: "join", inc: inc}
	case n < 6:
		return op{verb: "join", inc: g.who()}
	case n < 20:
		return op{verb: "enqueue", key: g.one(diffKeys), n: 1 + g.rnd.IntN(3)}
	case n < 36:
		inc, p, _ := g.tenure()
		return op{verb: "read", inc: inc, p: p, n: 1 + g.rnd.IntN(4)}
	case n < 54:
		return g.ack()
	case n < 62:
		return g.plan()
	case n < 70:
		return g.release()
	case n < 77:
		return g.steal()
	case n < 84:
		inc, p, epoch := g.tenure()
		return op{verb: "claim", inc: inc, p: p, epoch: epoch, n: 1 + g.rnd.IntN(5)}
	}
	return g.rare()
}

func (g *diffGen) rare() op {
	inc, p, epoch := g.tenure()
	if g.park && g.rnd.IntN(5) == 0 {
		return op{verb: "skim", inc: inc, p: p, epoch: epoch, n: 1 + g.rnd.IntN(3)}
	}
	if g.park && g.rnd.IntN(3) == 0 {
		return op{verb: "unpark", inc: inc, p: p, epoch: epoch, key: g.one(diffKeys), n: 1 + g.rnd.IntN(3)}
	}
	switch g.rnd.IntN(12) {
	case 0:
		return g.evict()
	case 1:
		return op{verb: "silence", inc: g.who()}
	case 2, 3:
		return g.revoke()
	case 4:
		return op{verb: "leaving", inc: g.who()}
	case 5:
		if g.m.s.members[inc] != nil && !g.m.s.members[inc].Leaving {
			return op{verb: "beat", inc: inc}
		}
		return op{verb: "left", inc: inc}
	case 6, 7:
		e, who := g.epoch(), g.who() // replies come in the order of phases
		return op{verb: "report", inc: who, epoch: e, phase: 1 + g.rnd.IntN(min(3, 1+int(g.m.s.replies[who])))}
	case 8:
		return op{verb: "advance", term: g.term(), epoch: g.epoch()}
	case 9:
		return op{verb: "own", inc: inc, p: p}
	case 10:
		return op{verb: "snapshot", inc: g.who()}
	}
	return op{verb: "beat", inc: g.who()}
}

// epoch is the present ring epoch, or now and then the one before.
func (g *diffGen) epoch() uint64 {
	e := g.m.s.epoch
	if g.rnd.IntN(8) == 0 && e > 0 {
		e--
	}
	return e
}

func (g *diffGen) plan() op {
	o := op{verb: "plan", term: g.term(), epoch: g.m.s.epoch, mode: g.one([]string{"key", "key", "partition", "ring"})}
	if g.rnd.IntN(15) == 0 && o.epoch > 0 {
		o.epoch--
	}
	for p := range diffParts {
		to := g.m.s.parts[p].owner.Incarnation
		switch {
		case g.rnd.IntN(25) == 0:
			to = "-"
		case g.rnd.IntN(2) == 0 || !g.m.s.up(to):
			to = g.who()
		}
		o.targets = append(o.targets, to)
	}
	return o
}

func (g *diffGen) release() op {
	inc, p, epoch := g.tenure()
	o := op{verb: "release", inc: inc, p: p, epoch: epoch, ids: []int{}, flag: g.rnd.IntN(6) == 0}
	for n := 1; n <= g.m.s.parts[p].delivered; n++ {
		held := g.m.s.parts[p].at(n).held
		if held == (holder{inc: inc}) && g.rnd.IntN(2) == 0 || g.rnd.IntN(20) == 0 {
			o.ids = append(o.ids, n)
		}
	}
	return o
}

func (g *diffGen) steal() op {
	_, p, epoch := g.tenure()
	o := op{verb: "steal", term: g.term(), p: p, epoch: epoch, inc: g.m.s.parts[p].owner.Incarnation, to: g.m.s.parts[p].plan}
	for i := range diffParts { // one that may succeed
		part := g.m.s.parts[i]
		if g.m.s.members[part.owner.Incarnation] == nil && g.m.s.up(part.plan) {
			o.p, o.epoch, o.inc, o.to = i, part.owner.Epoch, part.owner.Incarnation, part.plan
		}
	}
	if g.rnd.IntN(10) == 0 {
		o.to = g.who()
	}
	return o
}

func (g *diffGen) evict() op {
	o := op{verb: "evict", term: g.term(), inc: g.who(), evidence: g.one([]string{"ttl", "connection", "deaf", "silent"})}
	_, o.p, o.epoch = g.tenure()
	o.flag = g.rnd.IntN(3) == 0 // connection: it has beaten since it was lost
	if o.evidence == "silent" { // of a leader that has read the records
		o.epoch, o.phase = g.m.s.epoch, int(g.m.s.phase)
		if o.phase == 0 {
			o.evidence = "ttl"
		}
	}
	return o
}

func (g *diffGen) revoke() op {
	_, p, _ := g.tenure()
	o := op{verb: "revoke", term: g.term(), p: p, inc: g.who(), epoch: 1, n: g.entry(p)}
	for i := range diffParts {
		if d := g.m.s.drainers(i); len(d) > 0 && g.rnd.IntN(5) > 0 {
			o.p, o.n = i, d[g.rnd.IntN(len(d))]
			h := g.m.s.parts[i].at(o.n).held
			o.inc, o.epoch = h.inc, h.epoch
		}
	}
	return o
}

func (g *diffGen) ack() op {
	inc, p, epoch := g.tenure()
	o := op{verb: "ack", inc: inc, p: p, epoch: max(1, epoch), n: g.entry(p), how: g.one([]string{"plain", "plain", "plain", "result", "dead", "failed", "back"})}
	if g.park && g.rnd.IntN(5) == 0 {
		o.how = "parked"
	}
	if o.n > 0 {
		o.key = g.m.s.parts[p].at(o.n).key
		if h := g.m.s.parts[p].at(o.n).held; h.permit() && g.rnd.IntN(3) > 0 {
			o.inc, o.epoch = h.inc, h.epoch
		}
	}
	return o
}
