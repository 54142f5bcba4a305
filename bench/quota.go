package bench

import (
	"sync"
	"sync/atomic"
)

// quota bounds how many jobs are under way. One goroutine takes; any may give.
type quota struct {
	left    atomic.Int64
	wanted  atomic.Int64 // by whom waits; 0: nobody does
	enough  chan struct{}
	closing sync.Once
	closed  chan struct{}
}

func newQuota(n int) *quota {
	q := &quota{enough: make(chan struct{}, 1), closed: make(chan struct{})}
	q.left.Store(int64(n))
	return q
}

// take waits until n more may start. It reports false once the quota is closed.
func (q *quota) take(n int) bool {
	for q.left.Load() < int64(n) {
		q.wanted.Store(int64(n))
		if q.left.Load() < int64(n) {
			select {
			case <-q.enough:
			case <-q.closed:
				return false
			}
		}
		q.wanted.Store(0)
	}
	q.left.Add(-int64(n))
	return true
}

// give ends n. To wake somebody costs more than a job that does nothing, so it is done
// once, when there is enough.
func (q *quota) give(n int) {
	left := q.left.Add(int64(n))
	if w := q.wanted.Load(); w > 0 && left >= w {
		select {
		case q.enough <- struct{}{}:
		default:
		}
	}
}

// close lets nobody wait any more.
func (q *quota) close() { q.closing.Do(func() { close(q.closed) }) }
