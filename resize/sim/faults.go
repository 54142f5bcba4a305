package sim

import "ringmaster/resize"

// fault is a kind of thing that goes wrong.
type fault uint8

const (
	lostRequest    fault = iota // a request never arrives
	lostReply                   // it is executed, and its answer is lost
	lateRequest                 // it is executed after its caller has given up
	lostMessage                 // an inbox loses its messages
	repeatMessage               // a message comes twice
	lostHint                    // a leader does not hear of a change
	killWorker                  // a worker's process dies; another starts in its place
	freezeWorker                // it stands still for a while, then goes on
	cutWorker                   // nothing passes between it and the server for a while
	deafWorker                  // its reader alone is cut off: it beats and hears nothing
	stopWorker                  // it leaves gracefully, and comes back
	joinWorker                  // one more joins
	lapse                       // its signs of life are gone for a moment
	killDispatcher              // a dispatcher's process dies; another starts in its place
	freezeDispatcher
	cutDispatcher
	restartServer // the server is down for a while, and keeps all it had
	failover      // an older state takes the server's place
	clockStep     // the server's clock jumps
	request       // somebody asks for a resize in some mode
	faultKinds
)

var faultNames = [...]string{
	"request lost", "reply lost", "request executed late", "messages lost", "message repeated", "hint lost", "worker killed",
	"worker frozen", "worker cut off", "reader cut off", "worker stopped", "worker joins", "signs of life lapse",
	"dispatcher killed", "dispatcher frozen", "dispatcher cut off", "server restarted", "failover", "clock step", "resize asked for",
}

// faults are the kinds that a schedule knows. Each has its own mix, so that rare kinds
// also meet each other alone.
type faults struct {
	e    *engine
	on   [faultKinds]bool
	rate int     // one request in so many
	kind []fault // of those that come by themselves
}

func (f *faults) choose() {
	f.rate = 6 + f.e.rng.IntN(40)
	for k := range faultKinds {
		f.on[k] = f.e.chance(2)
		if f.on[k] && k != lostRequest && k != lostReply && k != lateRequest && k != lostHint {
			f.kind = append(f.kind, k)
		}
	}
	if len(f.e.stores) > 1 { // what shards do together they do in resizes
		f.on[request] = true
		f.kind = append(f.kind, request, request)
	}
}

// hits decides about one request.
func (f *faults) hits(k fault) bool {
	hit := f.on[k] && f.e.chance(f.rate)
	if hit {
		f.e.audit.faults[k]++
	}
	return hit
}

// next lets something happen, and another thing a while later.
func (f *faults) next() {
	e := f.e
	if len(f.kind) == 0 || e.now > faultTime {
		return
	}
	k := f.kind[e.rng.IntN(len(f.kind))]
	e.log("fault", faultNames[k], 0, 0)
	e.audit.faults[k]++
	f.happen(k)
	e.after(nil, e.between(30, 600), f.next)
}

func (f *faults) happen(k fault) {
	e := f.e
	w := e.workers[e.rng.IntN(len(e.workers))]
	d := e.dispatchers[e.rng.IntN(len(e.dispatchers))]
	switch k {
	case killWorker:
		if w.inc != "" {
			w.down()
		}
	case freezeWorker:
		w.frozen = e.now + e.between(50, 5000)
	case cutWorker:
		w.cut = e.now + e.between(50, 5000)
	case deafWorker:
		w.shards[e.some()].reader.deaf = e.now + e.between(50, 4000)
	case stopWorker:
		w.stop()
	case joinWorker:
		if len(e.workers) < 4 {
			e.addWorker()
		}
	case lapse:
		for _, s := range e.stores {
			s.silence(w.inc)
		}
		e.after(&w.node, 300, e.watch(w)) // longer than a leader waits
	case killDispatcher:
		d.life++
		e.after(&d.node, e.between(50, 1000), d.start)
	case freezeDispatcher:
		d.frozen = e.now + e.between(50, 4000)
	case cutDispatcher:
		d.cut = e.now + e.between(50, 4000)
	default:
		f.server(k, w)
	}
}

func (f *faults) server(k fault, w *proc) {
	e := f.e
	switch k {
	case lostMessage:
		if s := e.stores[e.some()]; len(s.inbox[w.inc]) > 0 {
			s.inbox[w.inc] = s.inbox[w.inc][1:]
		} else {
			e.audit.deafen = w.inc
		}
	case repeatMessage:
		if s := e.stores[e.some()]; len(s.inbox[w.inc]) > 0 {
			s.inbox[w.inc] = append(s.inbox[w.inc], s.inbox[w.inc][0])
		}
	case restartServer:
		e.down = e.now + e.between(20, 1500)
		e.audit.servers++
		e.replica = nil // it follows the new one from now on
		e.drop()
		e.unwatch()
	case failover:
		if e.replica == nil {
			e.after(nil, e.between(1, 400), func() {
				if e.replica != nil { // else it is in place, or follows another start
					f.server(failover, w)
				}
			})
			for _, s := range e.stores {
				e.replica = append(e.replica, s.clone())
			}
			return
		}
		old := e.stores
		e.stores, e.replica = e.replica, nil
		e.down = e.now + e.between(0, 500)
		e.audit.failover(old, e.stores)
		e.drop()
		e.unwatch()
	case clockStep:
		step := e.between(-1500, 1500)
		if e.chance(2) {
			step += e.between(0, 60_000)
		}
		for _, s := range e.stores {
			s.now += step
		}
	case request:
		e.stores[0].request = resize.Request{ID: "asked", Mode: resize.Mode(e.rng.IntN(3))}
		e.stores[0].news++
	default: // those of requests come with them
	}
}

// unwatch ends all subscriptions with the server; those who live come back soon.
func (e *engine) unwatch() {
	for _, s := range e.stores {
		clear(s.watched)
	}
	for _, k := range e.workers {
		if k.inc == "" {
			continue
		}
		e.after(&k.node, max(1, e.down-e.now+e.between(5, 60)), e.watch(k))
	}
}

// watch has a worker's present incarnation subscribe anew, if it is there still.
func (e *engine) watch(k *proc) func() {
	inc := k.inc
	return func() {
		for _, s := range e.stores {
			if k.inc == inc && s.members[inc] != nil {
				s.watched[inc] = true
			}
		}
	}
}

// end lets everybody go on.
func (f *faults) end() {
	e := f.e
	f.on = [faultKinds]bool{}
	f.kind = nil
	e.audit.deafen = ""
	e.down = min(e.down, e.now)
	for _, k := range e.workers {
		k.frozen, k.cut = min(k.frozen, e.now), min(k.cut, e.now)
		for _, l := range k.shards {
			l.reader.deaf = 0
		}
	}
	for _, d := range e.dispatchers {
		d.frozen, d.cut = min(d.frozen, e.now), min(d.cut, e.now)
	}
}

// Counts is how often each kind of fault happened.
func (r *Result) Counts() map[string]int {
	out := make(map[string]int, faultKinds)
	for k, n := range r.Faults {
		out[faultNames[k]] = n
	}
	return out
}
