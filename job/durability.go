package job

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// MaxReplicas is how many replicas a durability may ask for.
const MaxReplicas = 16

// Durability is what must have happened to a write before it is reported as done. The
// zero value is the server's memory alone: nothing is waited for.
type Durability struct {
	// Fsync: it is on the server's disk; with Replicas, on theirs as well.
	Fsync bool
	// Replicas have received it. A replica that was behind is never counted.
	Replicas int
	// Wait is how long a batch of writes may wait for that; then their outcome is unknown.
	// 0: as long as the server's settings make it take, see streams.Store.CheckDurability.
	Wait time.Duration
}

// ParseDurability reads "memory", "fsync", "replicas:N" or "fsync+replicas:N".
func ParseDurability(s string) (Durability, error) {
	const want = "want memory, fsync, replicas:N or fsync+replicas:N, N from 1 to 16"
	var d Durability
	rest := s
	if rest == "memory" {
		return d, nil
	}
	if rest == "fsync" {
		return Durability{Fsync: true}, nil
	}
	rest, d.Fsync = strings.CutPrefix(rest, "fsync+")
	digits, ok := strings.CutPrefix(rest, "replicas:")
	n, err := strconv.Atoi(digits)
	if !ok || err != nil || n < 1 || n > MaxReplicas || strconv.Itoa(n) != digits {
		return Durability{}, Invalid("%s", want)
	}
	d.Replicas = n
	return d, nil
}

// String is what ParseDurability reads.
func (d Durability) String() string {
	switch {
	case d.Replicas > 0 && d.Fsync:
		return fmt.Sprintf("fsync+replicas:%d", d.Replicas)
	case d.Replicas > 0:
		return fmt.Sprintf("replicas:%d", d.Replicas)
	case d.Fsync:
		return "fsync"
	}
	return "memory"
}

// Memory reports whether nothing is waited for.
func (d Durability) Memory() bool { return !d.Fsync && d.Replicas == 0 }
