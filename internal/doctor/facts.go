package doctor

// fact is what one check means to whoever runs the queue.
type fact struct {
	meaning, remedy string
	led             string // the remedy where a dispatcher leads, which it names; "": the same
	damage          bool   // nobody mends it unasked, or somebody wrote by hand
}

const (
	remedyLeader = "a dispatcher mends this by itself: start one, or run 'ringctl doctor --apply'"
	remedyRepair = "a dispatcher mends this within 10 s, and so does 'ringctl doctor --apply'"
	remedyLed    = "%s leads and mends this by itself: if it stays so, look at its log, and restart it"
)

var facts = map[string]fact{
	NoWorker:          {meaning: "its jobs wait, those that its last worker had begun too; nothing is lost", remedy: "start a worker for the queue"},
	NoLeader:          {meaning: "nobody notices a death, and nobody plans: workers go on with what they own, new ones get nothing", remedy: "start a dispatcher"},
	DeadMember:        {meaning: "what it owns and holds stands still until it is evicted", remedy: remedyLeader, led: remedyLed},
	NobodyOwns:        {meaning: "its jobs wait until it is planned for a member", remedy: remedyLeader, led: remedyLed},
	OwnerNoMember:     {meaning: "nobody reads it until it is taken over", remedy: remedyLeader, led: remedyLed},
	PendingUnderDead:  {meaning: "their keys wait until the jobs are taken over", remedy: remedyLeader, led: remedyLed},
	NotTakenOver:      {meaning: "the owner has not claimed them: it may have missed the hint, and looks again with its heartbeat", remedy: "if it stays so, restart that worker"},
	UnfinishedPlan:    {meaning: "some partitions are not at their planned owner", remedy: remedyLeader, led: "%s leads and has not ended it: look at the log of the workers that are to give partitions up; 'ringctl doctor --apply' has it plan anew"},
	OwnerWithoutGroup: {meaning: "its owner can neither read nor end jobs; the group is made again from the first entry, and ended jobs that are still in the stream run again", remedy: remedyRepair, damage: true},
	GroupWithoutOwner: {meaning: "somebody made a group by hand: it holds up nothing, but the group is the fence, and there must be one", remedy: remedyRepair, damage: true},
	NoRecord:          {meaning: "nobody reads it, and nothing can be added to it", remedy: remedyLeader, led: remedyLed, damage: true},
	UnknownHolder:     {meaning: "somebody read by hand: these jobs never end, and their keys wait", remedy: "run 'ringctl doctor --apply': it gives them to the owner", damage: true},
	WrongType:         {meaning: "nothing can be added to it or read from it", remedy: "somebody wrote this key by hand: rename or delete it, and the stream is made again", damage: true},
}
