package resize

import (
	"errors"
	"fmt"
)

// Config holds the coordinator's times, in milliseconds, and bounds.
type Config struct {
	Quiet          int64 // the membership must have been still this long before healthy partitions move
	QuietMax       int64 // and is not waited for longer than this
	ReleaseTimeout int64 // an owner that has not released a partition by then is deaf
	DrainTimeout   int64 // a permit, and a drain in modes partition and ring, may last this long
	RetryAfter     int64 // the same action is not repeated sooner, whatever is read
	ReadTimeout    int64 // records that were asked for and did not come are asked for again
	PollMoving     int64 // how often records are read while something is unsettled
	PollBarrier    int64 // and while all shards of a queue wait for it in mode ring
	PollIdle       int64 // and while nothing is: the slow full scan
	FlapWindow     int64 // joins of one slot within this count as flapping
	FlapMax        int64 // longest time a flapping slot is left without healthy partitions
	MaxMoves       int   // healthy partitions moved by one plan
	Mode           Mode  // of plans that nobody asked for
	Anew           bool  // a plan that the lease begins with and that is not done is written anew at once
}

// Default is the configuration for production.
func Default() Config {
	return Config{
		Quiet:          100,     // a deploy's processes join within this of each other
		QuietMax:       2_000,   // a constant trickle of joins must not postpone balance for ever
		ReleaseTimeout: 2_000,   // a release takes milliseconds: four heartbeats of silence are deafness
		DrainTimeout:   30_000,  // most jobs end by themselves before this
		RetryAfter:     100,     // a refused action is decided anew, but not in a hot loop
		ReadTimeout:    1_000,   // one lost reply
		PollMoving:     250,     // hints normally come first
		PollBarrier:    50,      // everything stands still until it looks
		PollIdle:       10_000,  // finds what no hint told
		FlapWindow:     60_000,  // a rolling deploy restarts a slot once
		FlapMax:        30_000,  // then even a flapping worker is worth a try
		MaxMoves:       64,      // bounds what a single change disturbs at once
		Mode:           ModeKey, // stops the least
	}
}

// Validate names everything that is wrong.
func (c Config) Validate() error {
	var errs []error
	positive := func(name string, v int64) {
		if v <= 0 {
			errs = append(errs, fmt.Errorf("%s is %d: must be above 0", name, v))
		}
	}
	positive("release timeout", c.ReleaseTimeout)
	positive("drain timeout", c.DrainTimeout)
	positive("retry after", c.RetryAfter)
	positive("read timeout", c.ReadTimeout)
	positive("poll moving", c.PollMoving)
	positive("poll barrier", c.PollBarrier)
	positive("poll idle", c.PollIdle)
	positive("max moves", int64(c.MaxMoves))
	if c.Quiet < 0 || c.QuietMax < c.Quiet {
		errs = append(errs, fmt.Errorf("quiet time %d and its maximum %d: want 0 <= quiet <= maximum", c.Quiet, c.QuietMax))
	}
	if c.FlapWindow < 0 || c.FlapMax < 0 {
		errs = append(errs, fmt.Errorf("flap window %d and maximum %d must not be negative", c.FlapWindow, c.FlapMax))
	}
	if c.Mode > ModeRing {
		errs = append(errs, fmt.Errorf("mode %d is none of key, partition, ring", c.Mode))
	}
	return errors.Join(errs...)
}
