package bench

import "sync"

// quota bounds how many jobs are under way.
type quota struct {
	mu     sync.Mutex
	moved  *sync.Cond
	left   int
	closed bool
}

func newQuota(n int) *quota {
	q := &quota{left: n}
	q.moved = sync.NewCond(&q.mu)
	return q
}

// take waits until n more may start. It reports false once the quota is closed.
func (q *quota) take(n int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.left < n && !q.closed {
		q.moved.Wait()
	}
	q.left -= n
	return !q.closed
}

// give ends n.
func (q *quota) give(n int) {
	q.mu.Lock()
	q.left += n
	q.mu.Unlock()
	q.moved.Signal()
}

// close lets nobody wait any more.
func (q *quota) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.moved.Broadcast()
}
