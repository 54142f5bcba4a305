package sim

// producer adds jobs, one at a time under way, and repeats what was not answered.
type producer struct {
	node
	e      *engine
	number int
	keys   []string
	seqs   map[int]int // last sequence in each partition
	left   int
}

func (p *producer) next() {
	if p.left == 0 {
		return
	}
	p.left--
	e := p.e
	e.audit.sent++
	key := e.rng.IntN(len(p.keys))
	part := (p.number + key) % len(e.stores[0].parts)
	p.seqs[part]++
	p.send(part, p.seqs[part], p.keys[key], e.audit.sent)
}

func (p *producer) send(part, seq int, key string, serial int) {
	e := p.e
	id := 0
	e.send(&call{from: &p.node, conn: &conn{renews: []int{part % len(e.stores)}}, what: "enqueue", exec: func() {
		if id = e.of(part).enqueue(p.number, seq, part, key, serial); id > 0 {
			e.audit.added(e, part)
		}
	}, done: func(answered bool) {
		switch {
		case answered && id > 0:
			e.audit.acked[serial] = true
		case !answered && !e.chance(8):
			e.after(&p.node, e.between(5, 60), func() { p.send(part, seq, key, serial) })
			return
		}
		e.after(&p.node, e.between(5, 250), p.next)
	}})
}
