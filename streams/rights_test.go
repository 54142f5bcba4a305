package streams

import (
	"errors"
	"strings"
	"testing"

	"ringmaster/job"
)

// A right that the user lacks is told as that, with the rule, and never as a job that is not
// there or a server that is away.
func TestAMissingRightIsNamed(t *testing.T) {
	c := realCrew(t, Queue{})
	c.add(1, "k")
	id := job.ID{Partition: 0, Entry: c.add(1, "k")[0]}.String()
	for _, row := range []struct {
		name string
		lack string // the rule
		ask  func(s *Store) error
	}{
		{"a state", "+xinfo|stream", func(s *Store) error { _, err := s.Inspect().Job(c.ctx, "q", id); return err }},
		{"a state", "+xpending", func(s *Store) error { _, err := s.Inspect().Job(c.ctx, "q", id); return err }},
		{"a wait", "+xrange", func(s *Store) error { _, err := s.Inspect().WaitJob(c.ctx, "q", id, 1); return err }},
		{"a key", "+xrange", func(s *Store) error { _, err := s.Inspect().Key(c.ctx, "q", "k"); return err }},
		{"the queues", "+hgetall", func(s *Store) error { _, _, err := s.Queues(c.ctx); return err }},
	} {
		must(t, c.raw.ACLSetUser(c.ctx, "u", "reset", "on", ">secret", "~rm:*", "&*", "+@all", "-"+row.lack[1:]).Err())
		s := openStore(t, strings.Replace(c.url, "redis://", "redis://u:secret@", 1))
		err := row.ask(s)
		if !errors.Is(err, job.ErrNotPermitted) || errors.Is(err, job.ErrNotFound) || !strings.Contains(err.Error(), row.lack+" ") {
			t.Errorf("%s without %s: %v", row.name, row.lack, err)
		}
	}
	must(t, c.raw.ACLSetUser(c.ctx, "u", "reset", "on", ">secret", "~other:*", "&*", "+@all").Err())
	s := openStore(t, strings.Replace(c.url, "redis://", "redis://u:secret@", 1))
	if _, err := s.Inspect().Job(c.ctx, "q", id); !errors.Is(err, job.ErrNotPermitted) || !strings.Contains(err.Error(), "~rm:*") {
		t.Errorf("without the keys: %v", err)
	}
}
