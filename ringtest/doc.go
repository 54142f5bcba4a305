// Package ringtest is for tests of code that uses Ringmaster: a ring in memory in one line, in virtual
// time, with workers that can be killed and frozen.
//
//	func TestMailsAreSent(t *testing.T) {
//		ringtest.Run(t, func(t *testing.T, r *ringtest.Ring) {
//			var outbox Outbox
//			r.Worker(ringmaster.WorkerConfig{Queues: []string{"mails"}}, func(w *ringmaster.Worker) {
//				ringmaster.Handle(w, "send", outbox.send)
//			})
//			outbox.fail(3) // the first attempts; the pauses after them pass at once
//
//			first := r.Submit("mails", "send", Mail{To: "ada@example.org"}, ringmaster.Key("ada"))
//			second := r.Submit("mails", "send", Mail{To: "ada@example.org"}, ringmaster.Key("ada"))
//			ringtest.RequireCompleted(t, first)
//			ringtest.RequireCompleted(t, second)
//			ringtest.RequireInOrder(t, r)
//			if len(outbox.sent) != 2 {
//				t.Errorf("sent %d mails", len(outbox.sent))
//			}
//		})
//	}
//
// # Time
//
// Run is a bubble of testing/synctest: its clock stands while anything runs, and goes on to the next
// timer when all wait. So a back-off of an hour passes in moments, and a test that waits for
// something waits no longer than that takes. What a test starts must live in the bubble: goroutines
// that end, channels, timers, mutexes that are held shortly; no sockets and no processes.
//
// The ring is whole: the library as it is in production, a dispatcher that leads, and a store that
// speaks the Redis protocol (package embedded). Leases are 15 s instead of 3 s, and what goes with
// them is in proportion: a virtual hour at rest costs a few seconds, and less with longer leases (see
// Options). Starting and stopping a ring costs some 20 ms, with a worker and a job less than 100.
//
// # Handing in
//
// Code under test gets Ring.Client, or makes a client with Ring.Config. RequireSubmitted finds what it
// has handed in, RequireCompleted and RequireDead wait for the end of a job.
//
// # Handlers
//
// Ring.Work runs one job and returns the attempt: outcome, error, result. Ring.Attempts has all of
// them. RequireInOrder judges the order of each key.
//
// # What goes wrong in production
//
// Worker.Kill, Worker.Freeze and Worker.Thaw are SIGKILL, and a network that delivers nothing for a
// while: what a frozen worker says when it is back is refused, and its jobs have run elsewhere.
// Worker.At does so at a point: after the handler has done its work and before the store knows,
//
//	w.At(ringtest.AfterHandler, w.Kill)
//
// shows whether an effect bears being done twice. LoseAnswer has an answer lost whose request was
// executed. Ring.Resize, another Worker and Worker.Stop move partitions.
package ringtest
