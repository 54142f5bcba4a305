//go:build !linux

package redistest

import "syscall"

// diesWithParent has no counterpart here: a killed test process leaves its
// server behind.
func diesWithParent() *syscall.SysProcAttr { return nil }
