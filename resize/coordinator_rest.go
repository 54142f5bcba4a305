package resize

// AtRest tells whether time alone changes nothing: the records were read and call for nothing, and
// nothing is waited for. Until there is news it is enough to look at them now and then.
func (c *Coordinator) AtRest() bool {
	if !c.leading || !c.have || c.reading || c.again || c.unsettled || len(c.waits) > 0 || len(c.dead) > 0 || c.records.unfinished() {
		return false
	}
	for slot := range c.flaps.joins {
		if c.flaps.held(c.now, c.cfg.FlapMax, slot) {
			return false // it may have partitions when it has stayed a while
		}
	}
	return !c.quiet.armed || len(c.candidates(true)) == 0
}
