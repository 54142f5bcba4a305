//go:build !linux

package reexec

// First does nothing: process 1 is never this program here.
func First() (code int, ok bool) { return 0, false }
