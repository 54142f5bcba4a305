//go:build !linux

package redisproc

import "syscall"

// diesWithParent has no counterpart here: a killed process leaves its
// server behind.
func diesWithParent() *syscall.SysProcAttr { return nil }
