//go:build !failpoints

package failpoint

import "testing"

func TestWithoutTheTagNothingHappens(t *testing.T) {
	t.Setenv(DirVariable, t.TempDir())
	if Enabled || Dialer(map[string]Sent{"x": {}}) != nil {
		t.Error("the tag is not set")
	}
	if n := testing.AllocsPerRun(10, func() { Hit(W1) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	seen := map[Point]bool{}
	for _, p := range Points() {
		if p == "" || seen[p] {
			t.Errorf("point %q is twice", p)
		}
		seen[p] = true
	}
}
