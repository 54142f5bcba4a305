package streams

import (
	"context"
	"fmt"
)

// Warnings says which settings of the server put jobs at risk, one sentence each. A
// server that does not tell its settings gives none. It blocks for a few round trips.
func (s *Store) Warnings(ctx context.Context) []string {
	if s.Embedded() {
		return nil
	}
	get := func(name string) string {
		m, err := s.cmd.ConfigGet(ctx, name).Result()
		if err != nil {
			return ""
		}
		return m[name]
	}
	var out []string
	if p := get("maxmemory-policy"); p != "" && p != "noeviction" {
		out = append(out, fmt.Sprintf("maxmemory-policy is %s: when memory is full the server may delete jobs; set it to noeviction", p))
	}
	if get("appendonly") == "no" {
		out = append(out, "appendonly is no: what was written since the last snapshot is lost when the server stops; set it to yes")
	}
	return out
}
