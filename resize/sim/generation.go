package sim

import "ringmaster/job"

// renew begins a new generation if the store is at another server than its records name, as
// whoever reads or adds jobs does on each new connection. Owners stay owners.
func (s *store) renew(server int) {
	if s.server == server {
		return
	}
	s.server = server
	if s.bug == BugFailoverUnnoticed {
		return
	}
	jump := job.GenerationJump * uint64(1+server*97%251) // a state from before another generation gets other numbers
	s.epoch += jump
	clear(s.replies) // they are of an epoch
	for _, part := range s.parts {
		part.owner.Epoch += jump
	}
	for inc := range s.members {
		s.change[inc] += jump
	}
	s.news++
}

// meets reports whether a connection leads to the server that answers now. A reader's own does
// not if it was made to one before; others are made anew without a word.
func (e *engine) meets(c *conn) bool {
	now := e.audit.servers + 1
	if c.made != now {
		if c.made != 0 && c.own {
			return false
		}
		c.made = now
		for _, shard := range c.renews {
			e.stores[shard].renew(e.audit.servers)
		}
	}
	return true
}
