package leading

import (
	"errors"
	"log/slog"
	"testing"

	"ringmaster/internal/redistest"
)

// TestARestartedServerTellsOfNoLostConnection: after a restart nobody has subscribed yet. Before
// it is known that it is another server, no connection counts as lost.
func TestARestartedServerTellsOfNoLostConnection(t *testing.T) {
	t.Parallel()
	server := redistest.Real(t)
	r := newScene(t, server.URL())
	st := r.ring(slog.New(slog.DiscardHandler))
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
	// A client that was refused often says so for a second, whoever answers.
	r.until("it is asked for connections again", func() bool {
		_, err := st.Signs(r.ctx, []string{"a.1"})
		return err == nil
	})
}
