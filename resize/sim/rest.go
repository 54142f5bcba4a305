package sim

import (
	"fmt"

	"ringmaster/resize"
)

// A worker whose participant rests is not woken for a heartbeat that brings nothing new. Here it is,
// now and then, and held to it that it makes no difference.

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
