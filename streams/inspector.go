package streams

// Inspector answers what people, audits and the doctor ask: how a job, a key, a queue and its ring stand, who works,
// and what of a server puts jobs at risk. It changes nothing, except that Risks tries a write. It asks on its store's connections, and is safe for
// concurrent use.
type Inspector struct{ s *Store }

// Inspect is how to ask about what the store has.
func (s *Store) Inspect() *Inspector { return &Inspector{s} }
