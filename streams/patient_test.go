package streams

import (
	"sync"
	"testing"
	"time"

	"ringmaster/internal/faultproxy"
	"ringmaster/internal/redistest"
)

// TestAForgottenConnectionSpeaksForTheOthers: the network forgets all connections of a pool and tells
// nobody. One call waits in vain for an answer; the next has a new connection.
func TestAForgottenConnectionSpeaksForTheOthers(t *testing.T) {
	proxy := faultproxy.New(t, redistest.Real(t).Addr())
	s := must1(Open(Options{URL: proxy.URL(), Timeout: 300 * time.Millisecond}))(t)
	t.Cleanup(func() { _ = s.Close() })
	proxy.Disturb(faultproxy.Noise{Min: 100 * time.Millisecond, Max: 100 * time.Millisecond}, 1) // so that each has one of its own
	var calls sync.WaitGroup
	for range 8 {
		calls.Go(func() {
			if err := s.cmd.Ping(t.Context()).Err(); err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
	proxy.Disturb(faultproxy.Noise{}, 0)
	if n := proxy.Forget(); n < 6 {
		t.Fatalf("%d connections in the pool", n)
	}
	unanswered := 0
	for s.cmd.Ping(t.Context()).Err() != nil {
		unanswered++
	}
	if unanswered != 1 {
		t.Errorf("%d calls had no answer", unanswered)
	}
}
