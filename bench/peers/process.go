package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of /proc/PID/stat, which Linux has fixed at 100 per second for programs.
const tick = 10 * time.Millisecond

// status is a line of /proc/PID/stat.
type status struct {
	name   string
	parent int
	used   time.Duration // by the process and by children that it has waited for
}

// statusOf reads what Linux tells of a process; ok is false elsewhere, or without it.
func statusOf(pid int) (s status, ok bool) {
	raw, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return s, false
	}
	// The name is in parentheses, and may hold any.
	line := string(raw)
	open, end := strings.IndexByte(line, '('), strings.LastIndexByte(line, ')')
	if open < 0 || end < open {
		return s, false
	}
	fields := strings.Fields(line[end+1:])
	if len(fields) < 15 {
		return s, false
	}
	s.name = line[open+1 : end]
	s.parent, _ = strconv.Atoi(fields[1])
	for _, f := range fields[11:15] { // utime stime cutime cstime
		n, _ := strconv.ParseInt(f, 10, 64)
		s.used += time.Duration(n) * tick
	}
	return s, true
}

// processTree is the CPU time of a process and its children until now; 0 of pid 0.
func processTree(pid int) time.Duration {
	s, ok := statusOf(pid)
	if pid == 0 || !ok {
		return 0
	}
	sum := s.used
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range all {
		child, _ := strconv.Atoi(filepath.Base(dir))
		if c, ok := statusOf(child); ok && c.parent == pid {
			sum += c.used
		}
	}
	return sum
}

// parentOf is the parent of a process that has the name, 0 if there is none here.
func parentOf(pid int, name string) int {
	s, ok := statusOf(pid)
	if !ok || s.name != name {
		return 0
	}
	return s.parent
}
