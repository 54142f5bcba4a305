package resize

import (
	"fmt"
	"slices"
	"testing"
)

// steps feeds a participant events and returns all that it wants, in short.
func steps(t *testing.T, p *Participant, events ...ParticipantEvent) []string {
	t.Helper()
	var out []string
	for _, ev := range events {
		actions, err := p.Step(ev)
		if err == nil {
			err = p.CheckInvariants()
		}
		if err != nil {
			t.Fatalf("on %T%+v: %v", ev, ev, err)
		}
		for _, a := range actions {
			out = append(out, fmt.Sprintf("%T", a))
		}
	}
	return out
}

const wantsRecords, opens, rejoins, claims = "resize.ReadRecords", "resize.OpenGate", "resize.Rejoin", "resize.ClaimPartition"

// The barrier of a resize comes down by its own phase 3 alone, and not before the worker
// has replied to phase 2.
func TestAnOldResumeTakesNoBarrierDown(t *testing.T) {
	p := NewParticipant()
	gained := MessageReceived{Message{Type: TypeSync, Phase: Syncing, Epoch: 5, Part: 0, PartEpoch: 1, Change: 1}}
	got := steps(t, p, Joined{Incarnation: "w.1", RingState: RingState{Epoch: 5, Phase: Stopping, Mode: ModeRing}},
		gained, ClaimAnswered{Part: 0, Epoch: 1})
	if slices.Contains(got, opens) {
		t.Fatalf("opened while the barrier is up: %v", got)
	}
	resume := func(epoch uint64) MessageReceived {
		return MessageReceived{Message{Type: TypeSync, Phase: Resuming, Epoch: epoch, Part: -1}}
	}
	if got := steps(t, p, resume(4)); len(got) != 0 {
		t.Errorf("phase 3 of the resize before: %v", got)
	}
	if got := steps(t, p, resume(5)); !slices.Equal(got, []string{wantsRecords}) {
		t.Errorf("phase 3 without a reply to phase 2: %v, want a look at the records", got)
	}
}

// What was given up is never taken up again by the same incarnation: a run of the first
// tenure may still go on.
func TestAnEndedTenureIsNotTakenUpAgain(t *testing.T) {
	p := NewParticipant()
	state := RingState{Epoch: 3, Change: 1}
	got := steps(t, p, Joined{Incarnation: "w.1", RingState: RingState{Epoch: 3}},
		MessageReceived{Message{Type: TypeSync, Phase: Syncing, Epoch: 3, Part: 0, PartEpoch: 1, Change: 1}},
		ClaimAnswered{Part: 0, Epoch: 1}, PartitionFenced{Part: 0, Epoch: 1})
	if !slices.Contains(got, opens) || got[len(got)-1] != wantsRecords {
		t.Fatalf("open, then fenced: %v", got)
	}
	got = steps(t, p, SnapshotRead{Owned: map[int]uint64{0: 1}, Plan: map[int]string{0: "w.1"}, RingState: state})
	if !slices.Contains(got, rejoins) || slices.Contains(got, claims) {
		t.Errorf("records that still have it: %v, want a new incarnation", got)
	}
}

// What a message says while a partition is on its way out is not said again when the plan
// takes it back.
func TestALookAskedForWhileClosingIsNotForgotten(t *testing.T) {
	p := NewParticipant()
	undrained := MessageReceived{Message{Type: TypeUndrained, Part: 0, PartEpoch: 1, Change: 3}}
	got := steps(t, p, Joined{Incarnation: "w.1", RingState: RingState{Epoch: 3}},
		MessageReceived{Message{Type: TypeSync, Phase: Syncing, Epoch: 3, Part: 0, PartEpoch: 1, Change: 1}},
		ClaimAnswered{Part: 0, Epoch: 1},
		MessageReceived{Message{Type: TypeSync, Phase: Stopping, Epoch: 4, Part: -1, Parts: []int{0}, Change: 2}}, undrained)
	if got[len(got)-1] == claims {
		t.Fatalf("claims while a release is under way: %v", got)
	}
	if got := steps(t, p, ReleaseAnswered{Part: 0, Epoch: 1, Outcome: ReleaseKept}); !slices.Contains(got, claims) {
		t.Errorf("taken back: %v, want a claim", got)
	}
}

// A heartbeat that says less than was heard was overtaken by a message, or the store has
// gone back in time. The records tell.
func TestAHeartbeatThatSaysLessHasTheRecordsRead(t *testing.T) {
	p := NewParticipant()
	got := steps(t, p, Joined{Incarnation: "w.1", RingState: RingState{Epoch: 3}},
		MessageReceived{Message{Type: TypeSync, Phase: Syncing, Epoch: 3, Part: 0, PartEpoch: 1, Change: 1}},
		ClaimAnswered{Part: 0, Epoch: 1}, BeatAnswered{RingState{Epoch: 3, Change: 0}})
	if got[len(got)-1] != wantsRecords {
		t.Fatalf("%v, want a look at the records", got)
	}
	if got := steps(t, p, SnapshotRead{RingState: RingState{Epoch: 3, Change: 0}}); !slices.Contains(got, rejoins) {
		t.Errorf("the store went back: %v, want to rejoin", got)
	}
}

// A number that the store does not have was made up, or is from before it went back in time.
// It must not have the records read without end, and what else the message said may be as wrong.
func TestAChangeThatTheStoreDoesNotKnowEndsTheIncarnation(t *testing.T) {
	p := NewParticipant()
	told := func(change uint64) MessageReceived {
		return MessageReceived{Message{Type: TypeDrained, Part: 9, PartEpoch: 1, Change: change}}
	}
	if got := steps(t, p, Joined{Incarnation: "w.1", RingState: RingState{Epoch: 3}}, told(2)); !slices.Contains(got, wantsRecords) {
		t.Fatalf("%v, want a look at the records", got)
	}
	// What came while they were read tells nothing about them.
	if got := steps(t, p, told(1<<60), SnapshotRead{RingState: RingState{Epoch: 3, Change: 2}}); !slices.Contains(got, wantsRecords) || slices.Contains(got, rejoins) {
		t.Errorf("a message came meanwhile: %v, want another look", got)
	}
	if got := steps(t, p, SnapshotRead{RingState: RingState{Epoch: 3, Change: 2}}); !slices.Contains(got, rejoins) || slices.Contains(got, wantsRecords) {
		t.Errorf("%v, want to rejoin", got)
	}
}

// A hand-over is news only if its epoch is above all that was heard of the partition.
func TestPhaseTwoOfAnOlderTenureChangesNothing(t *testing.T) {
	p := NewParticipant()
	told := func(epoch, change uint64) MessageReceived {
		return MessageReceived{Message{Type: TypeSync, Phase: Syncing, Epoch: 3, Part: 0, PartEpoch: epoch, Change: change}}
	}
	steps(t, p, Joined{Incarnation: "w.1", RingState: RingState{Epoch: 3}}, told(5, 1), ClaimAnswered{Part: 0, Epoch: 5})
	steps(t, p, MessageReceived{Message{Type: TypeSync, Phase: Stopping, Epoch: 4, Parts: []int{0}, Part: -1, Change: 2}},
		ReleaseAnswered{Part: 0, Epoch: 5, Outcome: ReleaseFlipped})
	if got := steps(t, p, told(3, 0), told(5, 0)); len(got) != 0 {
		t.Errorf("phase 2 of tenures that are over: %v", got)
	}
}

// In mode ring a worker replies to phase 1 when nothing of it runs. A drain that takes too
// long is not waited for, those of its other partitions are.
func TestOneLongDrainEndsNoOther(t *testing.T) {
	p := NewParticipant()
	gained := func(part int, change uint64) MessageReceived {
		return MessageReceived{Message{Type: TypeSync, Phase: Syncing, Epoch: 1, Part: part, PartEpoch: 1, Change: change}}
	}
	steps(t, p, Joined{Incarnation: "w.1", RingState: RingState{Epoch: 1}}, gained(0, 1), gained(1, 2),
		ClaimAnswered{Part: 0, Epoch: 1}, ClaimAnswered{Part: 1, Epoch: 1},
		MessageReceived{Message{Type: TypeSync, Phase: Stopping, Epoch: 2, Mode: ModeRing, Part: -1, Change: 3}})
	if got := steps(t, p, DrainTimedOut{Part: 0, Epoch: 1}); slices.Contains(got, "resize.Report") {
		t.Fatalf("replied while another partition drains: %v", got)
	}
	if got := steps(t, p, PartitionIdle{Part: 1, Epoch: 1}); !slices.Contains(got, "resize.Report") {
		t.Fatalf("nothing is waited for, and no reply: %v", got)
	}
}

// A reply to phase 2 stands for the one to phase 1. A worker that missed phase 1 of mode
// ring has not stopped: it replies when the records have told it.
func TestPhase2IsNotAnsweredWhileAMessageIsMissing(t *testing.T) {
	p := NewParticipant()
	got := steps(t, p, Joined{Incarnation: "w.1", RingState: RingState{Epoch: 1}},
		MessageReceived{Message{Type: TypeSync, Phase: Syncing, Epoch: 2, Part: 0, PartEpoch: 3, Change: 2}},
		ClaimAnswered{Part: 0, Epoch: 3})
	if !slices.Contains(got, wantsRecords) || slices.Contains(got, "resize.Report") {
		t.Fatalf("%v, want a look at the records and no reply", got)
	}
	stopping := RingState{Epoch: 2, Phase: Stopping, Mode: ModeRing, Change: 2}
	records := SnapshotRead{RingState: stopping, Owned: map[int]uint64{0: 3}, Plan: map[int]string{0: "w.1"}}
	got = steps(t, p, records, records) // the first was asked for before the gain was known
	if !slices.Contains(got, "resize.CloseGate") || slices.Contains(got, "resize.Report") {
		t.Fatalf("%v, want the gate closed first", got)
	}
	if got = steps(t, p, RunsEnded{}); !slices.Contains(got, "resize.Report") {
		t.Fatalf("%v, want the reply", got)
	}
}

// A worker that gave a partition up knows what raised its number: neither the next message
// nor the next heartbeat has it read its records.
func TestAWorkerThatGivesUpKnowsItsNumber(t *testing.T) {
	for _, c := range []struct {
		name   string
		change uint64 // after the release
		next   uint64 // of the message that follows
		reads  bool
	}{
		{"told", 3, 4, false},
		{"not told", 0, 4, true},
		{"another change came between", 4, 5, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := NewParticipant()
			steps(t, p, Joined{Incarnation: "w.1", RingState: RingState{Epoch: 3}},
				MessageReceived{Message{Type: TypeSync, Phase: Syncing, Epoch: 3, Part: 0, PartEpoch: 1, Change: 1}}, ClaimAnswered{Part: 0, Epoch: 1},
				MessageReceived{Message{Type: TypeSync, Phase: Stopping, Epoch: 4, Part: -1, Parts: []int{0}, Change: 2}},
				ReleaseAnswered{Part: 0, Epoch: 1, Outcome: ReleaseFlipped, Change: c.change})
			got := steps(t, p, MessageReceived{Message{Type: TypeSync, Phase: Syncing, Epoch: 5, Part: 1, PartEpoch: 1, Change: c.next}})
			if slices.Contains(got, wantsRecords) != c.reads {
				t.Errorf("the next message has it do %v, want the records read: %v", got, c.reads)
			}
		})
	}
}

// A claim brings runs that went on into a partition whose gate never opened: in mode partition it
// does not go before they have ended.
func TestWhatWentOnIsWaitedFor(t *testing.T) {
	for _, runs := range []bool{true, false} {
		p := NewParticipant()
		got := steps(t, p, Joined{Incarnation: "w.1", RingState: RingState{Epoch: 3}},
			MessageReceived{Message{Type: TypeSync, Phase: Syncing, Epoch: 3, Part: 0, PartEpoch: 1001, Change: 1}},
			MessageReceived{Message{Type: TypeSync, Phase: Stopping, Epoch: 4, Part: -1, Parts: []int{0}, Mode: ModePartition, Change: 2}},
			ClaimAnswered{Part: 0, Epoch: 1001, Runs: runs})
		const releases = "resize.ReleasePartition"
		if slices.Contains(got, releases) == runs {
			t.Errorf("runs: %v: %v", runs, got)
		}
		if got := steps(t, p, PartitionIdle{Part: 0, Epoch: 1001}); slices.Contains(got, releases) != runs {
			t.Errorf("runs: %v, idle: %v", runs, got)
		}
	}
}
