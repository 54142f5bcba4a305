package lanes

import "time"

// When a call is not answered, nobody knows which server answers the next one. It may have been
// restarted, or another have taken its place: then every tenure has a new epoch by the records,
// and what starts under the old one has a fence that is not the newest, and starts again under
// the new one. So nothing starts until the records were read.

// Doubt stops all starts until Confirm.
func (s *Shard) Doubt() {
	for _, t := range s.tenures {
		t.doubt = true
	}
}

// DoubtOne stops the starts of one tenure, of which somebody said that it is over.
func (s *Shard) DoubtOne(part int, epoch uint64) {
	if t := s.Find(part, epoch); t != nil {
		t.doubt = true
	}
}

// Confirm lets go on what the records still have, under the same epoch. Of the other tenures
// nothing starts any more: they are about to be dropped.
func (s *Shard) Confirm(owned map[int]uint64, now time.Time) {
	s.pool.loseOf(s, func(it *Item) bool { return !follows(it.Tenure.Epoch, owned[it.Tenure.Partition]) })
	for _, t := range s.tenures {
		epoch, has := owned[t.Partition]
		t.renewed, t.denied = has && follows(t.Epoch, epoch), !has || epoch != t.Epoch
		if !t.doubt || !has || epoch != t.Epoch {
			continue
		}
		t.doubt = false
		s.pool.dispatchAll(t, now)
	}
}
