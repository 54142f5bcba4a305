package driver

import (
	"strings"
	"testing"

	"ringmaster/job"
)

func TestOneCallEndsNoMoreThanItMay(t *testing.T) {
	end := func(n int) ended { return ended{c: job.Completion{Data: strings.Repeat("x", n)}} }
	for name, c := range map[string]struct {
		ends []ended
		want int
	}{
		"small ones":       {make([]ended, mostOfCall+5), mostOfCall},
		"a few":            {make([]ended, 3), 3},
		"one that is huge": {[]ended{end(3 * bytesOfCall), end(1)}, 1},
		"large ones":       {[]ended{end(bytesOfCall / 2), end(bytesOfCall / 2), end(1)}, 2},
	} {
		if got := callOf(c.ends); got != c.want {
			t.Errorf("%s: %d", name, got)
		}
	}
}
