package sim

import "ringmaster/resize"

// claim takes up to count marked entries behind the cursor, in id order.
func (s *store) claim(inc string, p int, epoch uint64, cursor, count int) (page []int, next int, ok bool) {
	if !s.owns(inc, p, epoch) {
		return nil, 0, false
	}
	part := s.parts[p]
	for n := cursor + 1; n <= part.delivered; n++ {
		if part.at(n).held != mark {
			continue
		}
		if len(page) == count {
			return page, page[count-1], true
		}
		part.at(n).held = holder{inc: inc}
		page = append(page, n)
	}
	return page, 0, true
}

// read is the plain group read: fenced by the group's name alone.
func (s *store) read(inc string, p, count int) ([]int, bool) {
	part := s.parts[p]
	if part.owner.Incarnation != inc {
		return nil, false
	}
	var page []int
	for part.delivered < len(part.entries) && len(page) < count {
		part.delivered++
		if part.at(part.delivered).void {
			continue
		}
		part.at(part.delivered).held = holder{inc: inc}
		page = append(page, part.delivered)
	}
	return page, true
}

// own is a worker's own pending list: what it was handed and has not ended.
func (s *store) own(inc string, p int) ([]int, bool) {
	part := s.parts[p]
	if part.owner.Incarnation != inc {
		return nil, false
	}
	var out []int
	for n := 1; n <= part.delivered; n++ {
		if part.at(n).held == (holder{inc: inc}) {
			out = append(out, n)
		}
	}
	return out, true
}

// end is how a run ended.
type end uint8

const (
	endDone   end = iota // completed
	endDead              // a dead letter
	endFailed            // tried again, not before a time
	endBack              // handed back: no attempt counted
)

// ack ends a run for its owner or its drainer: OWNER, DRAINER, DUP (pending for nobody,
// the caller owns the partition), GONE (and does not own it), FENCED (pending for
// another). A plain completion by the owner is not looked up, so its repeat is OWNER too.
func (s *store) ack(inc string, p int, epoch uint64, n int, how end, notBefore int64) string {
	part := s.parts[p]
	e := part.at(n)
	own := s.owns(inc, p, epoch)
	if s.bug == BugUnfencedAck && how == endDone {
		if e.held != (holder{}) {
			e.held = holder{}
			e.acked++
		}
		return "OWNER"
	}
	me := holder{inc: inc}
	if !own {
		me.epoch = epoch
	}
	switch {
	case own && how == endDone:
		if e.held != (holder{}) {
			e.held = holder{}
			e.acked++
		}
		return "OWNER"
	case e.held == holder{} && own:
		return "DUP"
	case e.held == holder{}:
		return "GONE"
	case e.held != me:
		return "FENCED"
	}
	kind := resize.TypeDrained
	switch how {
	case endFailed, endBack:
		if how == endFailed {
			e.attempts, e.notBefore = e.attempts+1, notBefore
		}
		if own {
			return "OWNER"
		}
		e.held = mark
		kind = resize.TypeUndrained
	default:
		e.held, e.dead = holder{}, how == endDead
		e.acked++
	}
	if own {
		return "OWNER"
	}
	s.tell(part.owner.Incarnation, true, resize.Message{
		Type: kind, Part: p, PartEpoch: part.owner.Epoch, ID: id(n),
	})
	return "DRAINER"
}

// trim drops from the stream what lies below the low-water mark: the lowest id that
// is pending, or the id after the last one that its owner read.
func (s *store) trim(p, lastRead int) {
	part := s.parts[p]
	if s.bug == BugTrimUnread {
		lastRead = len(part.entries)
	}
	mark := min(lastRead, part.delivered) // a failover may have forgotten what was read
	if s.bug == BugTrimUnread {
		mark = lastRead
	}
	for n := part.trimmed + 1; n <= min(lastRead, part.delivered); n++ {
		if h := part.at(n).held; h != (holder{}) && (s.bug != BugTrimDrainers || !h.permit()) {
			mark = n - 1
			break
		}
	}
	part.trimmed = max(part.trimmed, mark)
}

// enqueue adds a job once per producer and sequence. It answers 0 for a sequence that
// was given up.
func (s *store) enqueue(producer, seq, p int, key string, serial int) int {
	m := memoryOf{producer, p}
	switch last := s.memory[m]; {
	case last.seq == seq && s.bug != BugEnqueueTwice:
		return last.id
	case last.seq > seq:
		return 0
	}
	part := s.parts[p]
	part.entries = append(part.entries, entry{key: key, serial: serial})
	s.memory[m] = batch{seq, len(part.entries)}
	return len(part.entries)
}
