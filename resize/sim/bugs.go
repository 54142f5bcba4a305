package sim

import "ringmaster/resize"

// Bug is a fault put into the model on purpose, to see that the simulator finds it.
type Bug int

const (
	NoBug                Bug = iota
	BugFlipDrops             // a flip loses what was waiting in the owner's pending list
	BugFlipResurrects        // a flip takes the caller's word for what is pending
	BugMarksAck              // what is to be claimed is left under a name that can ack
	BugStealMember           // a partition is stolen from a member
	BugUnfencedAck           // an ack looks at no owner
	BugTrimDrainers          // the low-water mark forgets former owners' jobs
	BugTrimUnread            // the low-water mark lies above unread jobs
	BugEnqueueTwice          // a repeated batch is added again
	BugRefusedFrees          // a refused end frees its key
	BugUnansweredFrees       // an end without an answer frees its key
	BugStalePermits          // a release names what ran when the reader was last answered, not what runs as the gate closes
	BugMergeInFlight         // the own pending list is merged while an ack is under way
	BugNoMerge               // after a lost answer new jobs are read before the own pending list
	BugDrainersKey           // a key starts at the gainer while a former owner runs it
	BugOldConnection         // the old connection is not ended
	BugLostHint              // a key that waits for a lost message is not looked at again
	BugLeaseIgnored          // a worker starts jobs when its lease is over
	BugReadEarly             // new jobs are read before the pending ones are claimed
	BugEpochIgnored          // a run acks under its worker's present tenure, not its own
	BugFailoverUnnoticed     // a worker goes on when another server has taken the old one's place
	BugDeafBeats             // a worker whose reader hears nothing renews its lease
	BugLookLost              // a look at what blocks a key is not repeated when its answer is lost, nor by a new connection
	BugTrimParked            // the low-water mark forgets jobs that are set aside
	BugLateParks             // a late call parks what came back since
	BugShardAlone            // in mode ring a shard goes on when it stands still by itself
	BugLateAdvance           // a leader's word that comes late ends phase 1 of a later plan
	BugBesideItself          // a run that is told to end counts as one that has ended
	BugNothingKept           // after a new generation a worker does not know again what it runs
	bugs
)

var bugNames = [...]string{
	"none", "flip-drops", "flip-resurrects", "marks-ack", "steal-member", "unfenced-ack", "trim-drainers",
	"trim-unread", "enqueue-twice", "refused-frees", "unanswered-frees", "stale-permits", "merge-in-flight", "no-merge",
	"drainers-key", "old-connection", "lost-hint", "lease-ignored", "read-early", "epoch-ignored", "failover-unnoticed", "deaf-beats", "look-lost", "trim-parked", "late-parks", "shard-alone", "late-advance", "beside-itself", "nothing-kept",
}

// String is the bug's name on the command line.
func (b Bug) String() string { return bugNames[b] }

// Bugs lists all that can be put in.
func Bugs() []Bug {
	var all []Bug
	for b := NoBug + 1; b < bugs; b++ {
		all = append(all, b)
	}
	return all
}

// misses reports whether a bug keeps an event from the machine: a look at what blocks a key that the
// driver itself has ordered, as it reads the records or where an answer was lost.
func (b Bug) misses(k *limb, ev resize.ParticipantEvent) bool {
	m, is := ev.(resize.MessageReceived)
	if !is || m.Message.Type != resize.TypeUndrained || m.Message.ID != "" {
		return false
	}
	return b == BugLostHint || b == BugLookLost && k.blind
}
