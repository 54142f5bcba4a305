package recovery

import "time"

// Backoff spreads repeated attempts out in time.
type Backoff struct {
	Base time.Duration // ceiling of the first delay
	Max  time.Duration // ceiling of every delay
}

// Delay is how long to wait after failed attempt number attempt, 1 for the first:
// evenly distributed over [0, min(Max, Base*2^(attempt-1))). This is "full jitter" of
// M. Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015): jobs that
// failed together for one reason do not come back together.
//
// rnd returns a number in [0,1), as math/rand/v2.Float64 does; what is outside is taken
// as the nearer end. An attempt below 1 counts as 1. Delay is never negative, never above
// Max, and does not overflow at any attempt. It may be called concurrently if rnd may.
func (b Backoff) Delay(attempt int, rnd func() float64) time.Duration {
	r, ceiling := rnd(), b.ceiling(attempt)
	switch {
	case !(r > 0): // NaN too
		return 0
	case r >= 1: // a ceiling near the largest Duration does not survive the way through float64
		return ceiling
	}
	return time.Duration(r * float64(ceiling))
}

func (b Backoff) ceiling(attempt int) time.Duration {
	if b.Base <= 0 || b.Max <= 0 {
		return 0
	}
	c := b.Base
	for n := 1; n < attempt; n++ {
		if c > b.Max/2 { // doubling would pass Max, or overflow
			return b.Max
		}
		c *= 2
	}
	return min(c, b.Max)
}
