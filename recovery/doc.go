// Package recovery holds the decisions that are taken when something went wrong:
// who is dead (Detector), when a failed job is tried again (Backoff, Judge), and which
// job kills its workers (Poison).
//
// Everything here is a decision, never an effect: no Redis, no goroutine, no clock.
// Time comes in as a value and randomness as a function, so every rule can be tested
// by a table. Nothing blocks. Values may be shared freely, except a Detector, which
// belongs to one goroutine.
package recovery
