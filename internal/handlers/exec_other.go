//go:build !linux

package handlers

import (
	"os"
	"syscall"
)

// groupAttr gives a command a group of its own.
func groupAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func namelessFile() (*os.File, error) { return unlinkedFile() }
