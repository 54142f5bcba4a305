package bench

import "syscall"

// ownGroup keeps the terminal's signals from a process, and has the kernel kill it when
// this process dies.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
