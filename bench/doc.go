// Package bench measures this machine: the loop one would write by hand with go-redis, and
// our queue, in turn and in the same run, so that the figures can be compared whatever the
// machine is. Rates alone say little on a machine that others use; the CPU time of the
// Redis process and of this one, as the operating system counts it, says more.
package bench
