//go:build !unix

package main

import "time"

// cpuTime is the time since began, where the system does not tell better.
func cpuTime(began time.Time) time.Duration { return time.Since(began) }
