package handlers

import (
	"os/exec"
	"syscall"
	"testing"
)

// TestGuard_ANewShellIsToldWhatRuns: where the first has died, commands of before are not forgotten.
func TestGuard_ANewShellIsToldWhatRuns(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "sleep", "300")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	g := &guard{}
	g.ready()
	release := g.watch(cmd.Process.Pid)
	defer release()
	// A shell that was stopped reads nothing; once it went on it would find its input at an end.
	if err := g.shell.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	stopped := g.shell
	for g.tell != nil {
		g.watch(1 << 30)()
	}
	if stopped.ProcessState == nil {
		t.Error("the shell that does not read was left behind")
	}
	g.ready()
	if err := g.tell.Close(); err != nil { // as when this process ends
		t.Fatal(err)
	}
	g.tell = nil
	_ = cmd.Wait() // for 300 s if nobody kills it
	if status := cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGKILL {
		t.Errorf("the command ended by itself: %v", cmd.ProcessState)
	}
}
