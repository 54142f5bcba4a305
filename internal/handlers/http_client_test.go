package handlers

import (
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"ringmaster/configs"
)

// A worker needs no more connections to a server than it runs jobs at once.
func TestConnectionsAreUsedAgain(t *testing.T) {
	const together, rounds = 16, 20
	var dialled atomic.Int64
	var here sync.WaitGroup // all posts of a round are at the server at once
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		here.Done()
		here.Wait()
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			dialled.Add(1)
		}
	}
	s.Start()
	defer s.Close()
	client := NewClient(together)
	defer client.CloseIdleConnections()
	run := HTTP(configs.HTTP{URL: s.URL}, 1<<20, client)
	for range rounds {
		var round sync.WaitGroup
		here.Add(together)
		for range together {
			round.Go(func() {
				if _, err := run(t.Context(), delivery(`1`)); err != nil {
					t.Error(err)
				}
			})
		}
		round.Wait()
	}
	if n := dialled.Load(); n > 2*together {
		t.Errorf("%d connections for %d jobs, %d at once", n, together*rounds, together)
	}
}
