package sim

import (
	"fmt"
	"slices"

	"ringmaster/resize"
)

// A worker whose participant rests is not woken for a heartbeat that brings nothing new. Here it is
// woken, and held to it that it would have made no difference.

// restful reports whether a worker would not be woken for an event.
func restful(p *resize.Participant, ev resize.ParticipantEvent) bool {
	beat, is := ev.(resize.BeatAnswered)
	seen, rests := p.Rest()
	return is && rests && beat.Same(seen)
}

// stillRests is an error if such an event has changed anything.
func stillRests(p *resize.Participant, ev resize.ParticipantEvent, actions []resize.ParticipantAction) error {
	if len(actions) > 0 || !restful(p, ev) {
		return fmt.Errorf("at rest, and a heartbeat that tells the same calls for %v", actions)
	}
	return nil
}

// beatNext has the next heartbeat sent: a third of a lease after the last, if the worker still
// rests when it would else be due.
func (k *proc) beatNext(sent int64) {
	e := k.e
	e.after(&k.node, max(1, sent+beatEvery-e.now), func() {
		if !k.rests() {
			k.beat()
			return
		}
		e.after(&k.node, max(1, sent+leaseTTL/3-e.now), k.beat)
	})
}

func (k *proc) rests() bool {
	moves := slices.ContainsFunc(k.shards, func(l *limb) bool {
		_, rests := l.p.Rest()
		return !rests || len(l.events)+len(l.ended)+len(l.flight) > 0
	})
	return !moves && k.stopping == 0 && !k.expired && k.pool.Runs() == 0
}
