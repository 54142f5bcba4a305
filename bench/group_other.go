//go:build !linux

package bench

import "syscall"

// ownGroup keeps the terminal's signals from a process. It ends by itself when its
// standard input does.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
