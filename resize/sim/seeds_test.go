package sim

import (
	"bufio"
	"flag"
	"os"
	"strconv"
	"strings"
	"testing"
)

var sweepSeeds = flag.Uint64("sweep", 500, "number of seeds to run")

// TestSweep runs schedules from seed 1 on. Each hundredth is run twice and must give
// the same log.
func TestSweep(t *testing.T) {
	const lanes = 4
	for lane := range uint64(lanes) {
		t.Run(strconv.Itoa(int(lane)), func(t *testing.T) {
			t.Parallel()
			for seed := lane + 1; seed <= *sweepSeeds; seed += lanes {
				r := Run(Options{Seed: seed})
				if r.Err != nil {
					t.Errorf("seed %d: %v\nreplay: make sim FIRST=%d SEEDS=1 TRACE=1", seed, r.Err, seed)
				}
				if seed%100 == 0 && Run(Options{Seed: seed}).Hash != r.Hash {
					t.Errorf("seed %d gave two different logs", seed)
				}
			}
		})
	}
}

// TestALimitedType runs schedules in which workers run one or two jobs of a type at a time: every job
// comes to its end, and never do more run.
func TestALimitedType(t *testing.T) {
	t.Parallel()
	for seed := uint64(1); seed <= *sweepSeeds; seed++ {
		if r := Run(Options{Seed: seed, Limited: 1 + int(seed%2)}); r.Err != nil {
			t.Errorf("seed %d: %v", seed, r.Err)
		}
	}
}

// TestKeptSeeds runs the seeds that once found something.
func TestKeptSeeds(t *testing.T) {
	f, err := os.Open("testdata/seeds")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	n := 0
	for lines.Scan() {
		field, _, _ := strings.Cut(lines.Text(), " ")
		if field == "" || field == "#" {
			continue
		}
		seed, err := strconv.ParseUint(field, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		n++
		if r := Run(Options{Seed: seed}); r.Err != nil {
			t.Errorf("seed %d: %v", seed, r.Err)
		}
	}
	if lines.Err() != nil || n == 0 {
		t.Errorf("%d seeds, %v", n, lines.Err())
	}
}

// TestEveryFaultHappens: a sweep that no longer meets a kind of fault shows nothing.
func TestEveryFaultHappens(t *testing.T) {
	t.Parallel()
	total := map[string]int{}
	jobs, live := 0, 0
	for seed := uint64(1); seed <= 200; seed++ {
		r := Run(Options{Seed: seed})
		jobs += r.Jobs
		if r.Live {
			live++
		}
		for name, n := range r.Counts() {
			total[name] += n
		}
	}
	for name, n := range total {
		if n < 5 {
			t.Errorf("%s: %d times in 200 schedules", name, n)
		}
	}
	if jobs < 2000 || live < 40 {
		t.Errorf("%d jobs, %d liveness runs", jobs, live)
	}
}

// foundBy are the first seeds that find each bug.
var foundBy = map[Bug]uint64{
	BugFlipDrops:         2,
	BugFlipResurrects:    59,
	BugMarksAck:          2,
	BugStealMember:       3,
	BugUnfencedAck:       21,
	BugTrimDrainers:      88,
	BugTrimUnread:        8,
	BugEnqueueTwice:      10,
	BugRefusedFrees:      6,
	BugUnansweredFrees:   6,
	BugStalePermits:      4173,
	BugMergeInFlight:     1218,
	BugNoMerge:           21,
	BugDrainersKey:       20,
	BugOldConnection:     331,
	BugLostHint:          199,
	BugLeaseIgnored:      123,
	BugReadEarly:         87,
	BugEpochIgnored:      495,
	BugFailoverUnnoticed: 54,
	BugDeafBeats:         8,
	BugLookLost:          3822,
	BugTrimParked:        31,
	BugLateParks:         2658,
	BugShardAlone:        2,
	BugLateAdvance:       989,
	BugNothingKept:       6,
	BugBesideItself:      1939,
}

// TestBugsAreFound puts each bug in. The seed that found it must find it again; where
// the schedules have changed, another must, soon.
func TestBugsAreFound(t *testing.T) {
	t.Parallel()
	for _, b := range Bugs() {
		t.Run(b.String(), func(t *testing.T) {
			t.Parallel()
			if Run(Options{Seed: foundBy[b], Bug: b}).Err != nil {
				return
			}
			const most = 4000
			for seed := uint64(1); seed <= most; seed++ {
				if r := Run(Options{Seed: seed, Bug: b}); r.Err != nil {
					t.Logf("the first seed is now %d: %v", seed, r.Err)
					return
				}
			}
			t.Errorf("not found by %d seeds", most)
		})
	}
}
