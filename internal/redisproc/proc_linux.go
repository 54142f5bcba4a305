package redisproc

import "syscall"

// diesWithParent makes the kernel end the server when this process is
// killed, before it could run its cleanups.
// The signal comes when the thread that started the child ends. Go keeps its
// threads, unless a goroutine ends while it is locked to one: callers of
// runtime.LockOSThread must unlock it.
func diesWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
