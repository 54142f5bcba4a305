package redisproc

import "testing"

// TestACluster: the first server holds the slots of the keys alone, and redis-cli moves them to the third.
func TestACluster(t *testing.T) {
	ctx := t.Context()
	c, err := StartCluster(ctx, Options{Dir: t.TempDir()}, "{a}", "{b}")
	must(t, err)
	t.Cleanup(c.Close)
	for i, want := range []int{2, 16382, 0} {
		if n, moving, err := c.Slots(ctx, i); n != want || moving || err != nil {
			t.Errorf("server %d has %d slots, not %d (moving: %v, %v)", i, n, want, moving, err)
		}
	}
	must(t, client(t, c.Nodes[0]).Set(ctx, "{a}", "1", 0).Err())
	must(t, c.Reshard(ctx, 0, 2, 2))
	for i, want := range []int{0, 0, 1} {
		if n, err := c.Keys(ctx, i); n != want || err != nil {
			t.Errorf("server %d has %d keys, not %d (%v)", i, n, want, err)
		}
	}
	must(t, c.Fix(ctx)) // nothing to do
}
