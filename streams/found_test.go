package streams

import (
	"fmt"
	"testing"
)

// Members of many rings are looked for in one call, and what is missed of one is said of no other.
func TestMembersOfManyRingsAreLookedForTogether(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		all := c.crowd(5)
		rings := make([]Members, len(all)+1)
		for i, m := range all {
			rings[i] = c.s.NewRing(m.q, "d1").Members([]string{"a.1"})
		}
		want := []bool{true, true, true, true, true, true} // the last has no members
		look := func(leases bool) {
			c.t.Helper()
			c.expect("found", fmt.Sprint(must1(c.s.AllFound(c.ctx, rings, leases))(c.t)), fmt.Sprint(want))
		}
		look(true)
		must(c.t, c.raw.Del(c.ctx, rings[1].channels[0]).Err())
		look(false)
		want[1] = false
		look(true)
		rings[3] = c.s.NewRing(all[3].q, "d1").Members([]string{"a.1", "b.1"})
		want[3] = false
		look(true)
		want[1] = true
		look(false)
	})
}
