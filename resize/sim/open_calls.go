package sim

import (
	"context"
	"fmt"

	"ringmaster/job"
)

// openCall is a call that waits for what becomes of it.
type openCall struct {
	from *fiber
	kind string
	says []string            // what it asks for, a line for each part
	exec func() []string     // the store executes it: what it answers to each part, "" for no more than yes
	held bool                // its answer is on the way until it is let through
	done func(answered bool) // the caller goes on
}

// party is who makes requests: they are executed in their order, when the scenario says so.
type party struct {
	w       *World
	name    string
	fibers  []*fiber
	waiting []*openCall
	mail    []*openCall       // whose answers are on their way
	faults  map[string]string // kind of request -> "before" or "after": the answer of the next one gets lost
}

// ask makes a request and waits for its answer.
func (p *party) ask(ctx context.Context, r *openCall) error {
	f, ok := ctx.(*fiber), false
	r.from, r.done = f, func(answered bool) { ok = answered; f.goOn() }
	if !f.dead {
		p.waiting = append(p.waiting, r)
	}
	if !f.wait() || !ok {
		return fmt.Errorf("%s: %w", r.kind, job.ErrOutcomeUnknown)
	}
	return nil
}

// fault takes the planned loss of an answer, if there is one for this kind of request.
func (p *party) fault(kind string) string {
	f := p.faults[kind]
	delete(p.faults, kind)
	return f
}

// next takes a request that waits, of one fiber or of any; nil: there is none.
func (p *party) next(of *fiber) *openCall {
	for i, r := range p.waiting {
		if of == nil || r.from == of {
			p.waiting = append(p.waiting[:i:i], p.waiting[i+1:]...)
			return r
		}
	}
	return nil
}

// execute has the store execute a request; its answer goes back at once, unless it is held or lost.
func (p *party) execute(r *openCall) {
	lost := p.fault(r.kind)
	var results []string
	if lost != "before" {
		results = r.exec()
	}
	for i, what := range r.says {
		switch {
		case lost != "":
			p.w.log("%s: %s -> unknown", p.name, what)
		case i < len(results) && results[i] != "":
			p.w.log("%s: %s -> %s", p.name, what, results[i])
		default:
			p.w.log("%s: %s", p.name, what)
		}
	}
	if r.held && lost == "" {
		p.mail = append(p.mail, r)
		return
	}
	r.done(lost == "")
	p.w.goOn()
}

// perform executes the next request. It reports whether there was one.
func (p *party) perform() bool {
	r := p.next(nil)
	if r != nil {
		p.execute(r)
	}
	return r != nil
}

// answer lets the next answer through that is on its way.
func (p *party) answer() bool {
	if len(p.mail) == 0 {
		return false
	}
	r := p.mail[0]
	p.mail = p.mail[1:]
	r.done(true)
	p.w.goOn()
	return true
}

// giveUp ends what was asked for first without an answer.
func (p *party) giveUp() bool {
	p.waiting, p.mail = append(p.mail, p.waiting...), nil
	r := p.next(nil)
	if r != nil {
		r.done(false)
		p.w.goOn()
	}
	return r != nil
}

// kill ends the process. What it asked for is forgotten.
func (p *party) kill() {
	for _, f := range p.fibers {
		f.kill()
	}
	p.waiting, p.mail = nil, nil
}
