package e2e

import (
	"os/exec"
	"syscall"
)

// dieWithParent ends the child if the test process is killed.
func dieWithParent(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
