// Package leading is who leads rings: for each queue of a server it runs a runner (package
// resize/runner), which decides through package resize who shall own which partition, and through
// package recovery who is dead. What it decides itself is little: which queues there are, whether
// whoever answers is a server that is known, and where to look for permits.
//
// Read first Leaders.Run, which a dispatcher runs; then Ring, one queue as its runner sees it. watch.go
// is what all rings at rest have in common: one look for the members of all, however many there are.
package leading
