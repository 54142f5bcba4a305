// Package behaviour has no code: its tests run leaders and workers together in one process, against a
// real server or the store in memory, and break what can break between them. What is shown here belongs
// to no part alone: jobs run once and in order while workers die, servers restart and slots move.
//
// Read first rig_test.go, a queue with a leader and workers that have short times; then runs_test.go and
// journal_test.go, by which tests judge what handlers saw and what the store took.
package behaviour
