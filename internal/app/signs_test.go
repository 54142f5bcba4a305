package app

import (
	"errors"
	"testing"
	"time"

	"ringmaster/internal/redistest"
	"ringmaster/streams"
)

// TestARestartedServerTellsOfNoLostConnection: after a restart nobody has subscribed yet. Before
// it is known that it is another server, no connection counts as lost.
func TestARestartedServerTellsOfNoLostConnection(t *testing.T) {
	server := redistest.Real(t)
	r := newRig(t, server.URL(), streams.Queue{Partitions: 1})
	st := newRingStore(r.store, r.queue, "d-1", time.Second, r.log)
	before, err := st.Look(r.ctx)
	r.must(err)
	_, err = st.Signs(r.ctx, []string{"a.1"})
	r.must(err)
	server.Kill()
	if _, err := st.Signs(r.ctx, []string{"a.1"}); err == nil {
		t.Fatal("a server that is away answers")
	}
	server.Restart()
	if _, err := st.Signs(r.ctx, []string{"a.1"}); !errors.Is(err, errUnsure) {
		t.Errorf("after the restart: %v, want %v", err, errUnsure)
	}
	r.until("the records are made again", func() bool {
		after, err := st.Look(r.ctx)
		return err == nil && after.ServerID != before.ServerID
	})
	r.redialed()
	_, err = st.Signs(r.ctx, []string{"a.1"})
	r.must(err)
}
