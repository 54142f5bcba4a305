// Package e2e tests Ringmaster as its users run it: real processes, a real Redis, real
// SIGKILL and SIGSTOP. It has no code of its own outside its tests.
package e2e
