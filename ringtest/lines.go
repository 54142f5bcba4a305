package ringtest

import (
	"strings"
	"sync"
)

// linesKept is how many log lines are shown of a test that failed.
const linesKept = 100

// lines are the last that were written, each by one Write. Safe for concurrent use.
type lines struct {
	mu   sync.Mutex
	kept []string
}

// Write implements io.Writer.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.kept) == linesKept {
		l.kept = append(l.kept[:0], l.kept[1:]...)
	}
	l.kept = append(l.kept, string(p))
	return len(p), nil
}

// String is all that is kept.
func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.kept, "")
}
