package reexec

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// First does what a program owes that is process 1, as in a container: whose parent has gone is given
// to it, and stays a zombie until somebody waits for it. A Go program cannot wait for all and for its
// own children apart. So it runs itself once more, hands signals on and waits for everybody. It
// returns false at once where the process is not the first, as that child is not; else when the child
// has ended, with its exit code.
func First() (code int, ok bool) {
	if os.Getpid() != 1 {
		return 0, false
	}
	code, err := child()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error: as process 1:", err)
		return 1, true
	}
	return code, true
}

func child() (int, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, fmt.Errorf("find this program: %w", err)
	}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	// A group of its own: a terminal's Ctrl-C is handed on, and comes once.
	pid, err := syscall.ForkExec(self, os.Args, &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{Setpgid: true}})
	if err != nil {
		return 0, fmt.Errorf("start %s: %w", self, err)
	}
	go func() { // ends with the process
		for s := range signals {
			_ = syscall.Kill(pid, s.(syscall.Signal)) // it may have ended
		}
	}()
	for {
		var status syscall.WaitStatus
		switch ended, err := syscall.Wait4(-1, &status, 0, nil); {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return 0, fmt.Errorf("wait: %w", err)
		case ended == pid && status.Exited():
			return status.ExitStatus(), nil
		case ended == pid && status.Signaled():
			return 128 + int(status.Signal()), nil
		}
	}
}
