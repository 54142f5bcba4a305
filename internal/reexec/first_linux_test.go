package reexec

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const firstRole = "RINGMASTER_TEST_FIRST"

func TestMain(m *testing.M) {
	if os.Getenv(firstRole) == "" {
		os.Exit(m.Run())
	}
	if code, ok := First(); ok {
		os.Exit(code)
	}
	os.Exit(orphans())
}

// orphans leaves ten processes behind, whose parent ends before they do, says how many zombies there
// are, until there are none, and waits for a signal.
func orphans() int {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	for range 10 {
		if exec.Command("sh", "-c", "sleep 0.05 & exit 0").Run() != nil {
			return 3
		}
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 500 {
		var left, zombies int
		stats, _ := filepath.Glob("/proc/[0-9]*/stat")
		for _, f := range stats {
			raw, _ := os.ReadFile(f)
			if strings.Contains(string(raw), "(sleep)") {
				left++
			}
			if strings.Contains(string(raw), "(sleep) Z") {
				zombies++
			}
		}
		if left == 0 {
			fmt.Println("none left")
			<-stop
			return 7
		}
		<-tick.C
		if zombies == 10 {
			fmt.Println("zombies")
			return 4
		}
	}
	return 5
}

// TestTheFirstProcessWaitsForOrphans: in a process namespace of its own the program is process 1. Its
// signals go to the program, whose exit code is its own.
func TestTheFirstProcessWaitsForOrphans(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "unshare", "--pid", "--fork", "--kill-child", "--mount-proc", self)
	cmd.Env = append(os.Environ(), firstRole+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var told strings.Builder
	cmd.Stderr = &told
	if err := cmd.Start(); err != nil {
		t.Skipf("no unshare here: %v", err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	if line == "" && strings.Contains(told.String(), "unshare failed") {
		_ = cmd.Wait()
		t.Skipf("no process namespaces here: %s", told.String())
	}
	if line != "none left\n" {
		t.Errorf("%q %s", line, told.String())
	}
	first, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", cmd.Process.Pid, cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscan(string(first), &pid); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Errorf("it ended with %v, want exit code 7", err)
	}
}
