//go:build !linux

package reexec

import "syscall"

// Group keeps the terminal's signals from a process. It ends by itself when its
// standard input does.
func Group() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
