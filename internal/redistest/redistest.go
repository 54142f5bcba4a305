// Package redistest gives tests a Redis: a real server as a child process, a primary with
// replicas, or the in-memory store.
package redistest

import (
	"testing"

	"go.uber.org/goleak"

	"ringmaster/embedded"
	"ringmaster/internal/redisproc"
)

// redial: a client that was refused often looks once a second whether the server is back. That ends by itself,
// up to a second after its client was closed, which is later than goleak waits.
const redial = "github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"

// VerifyMain runs the tests of a package whose servers come and go, and fails if they leave a goroutine
// behind that does not end by itself.
func VerifyMain(m *testing.M) { goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction(redial)) }

// Server is a redis-server of a test. Its methods fail the test on an error.
type Server struct {
	*redisproc.Server
	t testing.TB
}

// Real starts a redis-server that answers when Real returns, and ends it when
// the test ends. It persists nothing, in a directory of the test's own, unless
// extraArgs say otherwise (such as "--appendonly", "yes"). Where redis-server
// is not installed it fails the test: such tests are never skipped.
func Real(t testing.TB, extraArgs ...string) *Server {
	t.Helper()
	p, err := redisproc.Start(t.Context(), redisproc.Options{Dir: t.TempDir(), Args: extraArgs})
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Server: p, t: t}
	t.Cleanup(s.Kill)
	return s
}

// Replicated starts a primary and n replicas that follow it, and ends them when the test
// ends.
func Replicated(t testing.TB, n int, extraArgs ...string) *redisproc.Group {
	t.Helper()
	g, err := redisproc.StartGroup(t.Context(), n, redisproc.Options{Dir: t.TempDir(), Args: extraArgs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	return g
}

// Kill ends it with SIGKILL; see redisproc.
func (s *Server) Kill() { s.t.Helper(); s.must(s.Server.Kill()) }

// Stop ends it with SIGTERM.
func (s *Server) Stop() { s.t.Helper(); s.must(s.Server.Stop()) }

// Freeze stops it with SIGSTOP.
func (s *Server) Freeze() { s.t.Helper(); s.must(s.Server.Freeze()) }

// Thaw lets it go on.
func (s *Server) Thaw() { s.t.Helper(); s.must(s.Server.Thaw()) }

// Restart starts it again on the same port and directory.
func (s *Server) Restart() { s.t.Helper(); s.must(s.Server.Restart(s.t.Context())) }

func (s *Server) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// Mini starts an in-memory store that ends with the test.
func Mini(t testing.TB) *embedded.Store {
	t.Helper()
	s, err := embedded.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// Each runs f as the subtests "real" and "miniredis", each on an empty store
// of its own; kind is the subtest's name.
func Each(t *testing.T, f func(t *testing.T, url, kind string)) {
	t.Helper()
	t.Run("real", func(t *testing.T) { f(t, Real(t).URL(), "real") })
	t.Run("miniredis", func(t *testing.T) { f(t, Mini(t).URL(), "miniredis") })
}
