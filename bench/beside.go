package bench

import (
	"context"
	"time"
)

// What bench/peers, a module of its own, needs to measure other systems as ours is.

// Limits that every contender keeps.
const (
	Outstanding  = outstanding
	PayloadBytes = payloadBytes
	Keys         = keyCount
	Quiet        = quiet
)

// Bare moves so many jobs through the loop that one would write by hand, and removes what
// is left of them. trim: what is acknowledged goes by XTRIM MINID instead of XDEL. It
// returns when the last job is acknowledged.
func Bare(ctx context.Context, url string, jobs int, trim bool) error {
	if err := runRaw(ctx, url, jobs, rawTrim(trim)); err != nil {
		return err
	}
	return removeRaw(ctx, url)
}

// CPU is what this process has used until now, what the whole machine has, and what the
// hypervisor took. Zero where the operating system does not tell.
func CPU() (own, busy, stolen time.Duration) {
	busy, stolen = machineTime()
	return processTime(), busy, stolen
}
