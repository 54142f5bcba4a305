//go:build failpoints

package failpoint

import (
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func arm(t *testing.T, dir string, p Point, action string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, string(p)), []byte(action), 0o600); err != nil {
		t.Fatal(err)
	}
}

func hits(dir string) []string {
	raw, _ := os.ReadFile(filepath.Join(dir, HitsFile))
	var out []string
	for line := range strings.Lines(string(raw)) {
		out = append(out, strings.Join(strings.Fields(line)[:2], " "))
	}
	return out
}

func state(dir string) *armed {
	return &armed{dir: dir, left: map[Point]int{}, what: map[Point]string{}}
}

func TestCountsHitsAndActsOnce(t *testing.T) {
	dir := t.TempDir()
	a, other := state(dir), state(dir)
	if hit(a, W1) {
		t.Error("acted without a file")
	}
	arm(t, dir, W1, "after 2 cut\n")
	for i := range 6 {
		if got := hit(a, W1); got != (i == 2) {
			t.Errorf("hit %d: cut %v", i, got)
		}
		if hit(other, W1) || hit(a, W2) {
			t.Error("acted for a file that is another's")
		}
	}
	if got := hits(dir); len(got) != 1 || got[0] != "W1 cut" {
		t.Errorf("hits %q", got)
	}
	arm(t, dir, W1, "sleep 30ms")
	before := time.Now()
	hit(other, W1)
	if time.Since(before) < 30*time.Millisecond {
		t.Error("did not sleep")
	}
}

// The test process starts itself again, as the one that is hit.
func TestKillAndStop(t *testing.T) {
	if os.Getenv("FAILPOINT_TEST") != "" {
		Hit(W3)
		Hit(W3)
		return
	}
	for _, action := range []string{"kill", "after 1 kill", "stop"} {
		t.Run(action, func(t *testing.T) {
			dir := t.TempDir()
			arm(t, dir, W3, action)
			cmd := exec.Command(os.Args[0], "-test.run", "TestKillAndStop$")
			cmd.Env = append(os.Environ(), "FAILPOINT_TEST=1", DirVariable+"="+dir)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if action == "stop" {
				var ws syscall.WaitStatus
				if _, err := syscall.Wait4(cmd.Process.Pid, &ws, syscall.WUNTRACED, nil); err != nil || !ws.Stopped() {
					t.Errorf("state %v, %v", ws, err)
				}
				_ = cmd.Process.Signal(syscall.SIGCONT)
				if err := cmd.Wait(); err != nil {
					t.Errorf("after it was continued: %v", err)
				}
			} else if err := cmd.Wait(); err == nil || cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Errorf("ended with %v", err)
			}
			if got := hits(dir); len(got) != 1 || !strings.HasPrefix(got[0], "W3 ") {
				t.Errorf("hits %q", got)
			}
		})
	}
}

func TestConnectionPoints(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan string, 10)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				close(got)
				return
			}
			raw, _ := io.ReadAll(c)
			_ = c.Close()
			got <- string(raw)
		}
	}()
	dir := t.TempDir()
	dial := dialer(state(dir), map[string]Sent{"MARK": {Half: E2, Whole: E1}})
	send := func(text string) (int, error) {
		c, err := dial(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.Write([]byte(text))
	}
	for _, c := range []struct {
		arm  Point
		send string
		want string
		fail bool
	}{
		{"", "12MARK78", "12MARK78", false},
		{E1, "12345678", "12345678", false}, // does not fit
		{E1, "12MARK78", "12MARK78", false}, // cut when all was sent
		{E2, "12MARK78", "12MA", true},
	} {
		if c.arm != "" {
			arm(t, dir, c.arm, "cut")
		}
		n, err := send(c.send)
		if (err != nil) != c.fail || n != len(c.want) {
			t.Errorf("%s: wrote %d, %v", c.arm, n, err)
		}
		if s := <-got; s != c.want {
			t.Errorf("%s: arrived %q, want %q", c.arm, s, c.want)
		}
	}
	if h := hits(dir); len(h) != 2 {
		t.Errorf("hits %q", h)
	}
	if dialer(nil, nil) != nil {
		t.Error("a dialer without a directory")
	}
}
