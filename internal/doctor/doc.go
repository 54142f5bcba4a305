// Package doctor looks at what a server and its queues are in, says what is wrong, and mends it: what
// 'ringctl doctor' and 'ringctl verify' do, beside whatever runs.
//
//   - Examine finds what is wrong, and changes nothing. What does not fit in a ring is the verdict of
//     consistency over its records and streams; facts.go says what each finding means and what to do.
//   - Treat mends what was found: mend.go leads the ring for a while where no dispatcher does.
//   - Verify audits the journal of a queue: audit judges one partition, lost jobs and ends out of order.
//
// Read first Examine, then consistency. That one, Causes, lasting and audit are pure: what they judge
// comes in as values, nothing blocks, and each rule is tested by a table.
package doctor
