package reexec

import "syscall"

// Group keeps the terminal's signals from a process, and has the kernel kill it when
// this process dies.
func Group() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
