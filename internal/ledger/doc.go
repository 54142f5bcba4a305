// Package ledger keeps what happened outside of Redis and judges it.
//
// Each process appends to a file of its own what it does: jobs handed in and what it was
// told of them, handlers started and ended, effects on a system outside. A record is one
// write, so a killed process leaves whole records; it has a number and a checksum, so a
// record that is missing or torn is found. A Checker compares the files with the journal
// of the queue and names everything that must not be. It does no I/O, and knows no Redis.
//
// The anomalies and most of their names are those of Jepsen's queue and Kafka checkers;
// unlike them it takes a second completion, and any step back in the order of a key, as
// wrong.
package ledger
