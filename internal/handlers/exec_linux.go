package handlers

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// groupAttr gives a command a group of its own, and has the kernel kill it when the thread
// that started it is gone: with its worker. For its children see guard.
func groupAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// namelessFile is in memory, as a payload is: a worker's file system may be read-only.
func namelessFile() (*os.File, error) {
	fd, err := unix.MemfdCreate("ringmaster-payload", unix.MFD_CLOEXEC)
	if err != nil {
		return unlinkedFile() // a kernel that does not have it, or a sandbox
	}
	return os.NewFile(uintptr(fd), "payload"), nil
}
