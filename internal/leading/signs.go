package leading

import (
	"context"
	"errors"
	"time"

	"ringmaster/recovery"
	"ringmaster/resize"
	"ringmaster/resize/runner"
)

// Signs asks whoever is not subscribed for a heartbeat, once for each loss.
func (r *Ring) Signs(ctx context.Context, incs []string) ([]runner.Sighting, error) {
	if r.unsure {
		return nil, errUnsure
	}
	signs, err := r.ring.Signs(ctx, incs, func(inc string) bool { return !r.asked[inc] })
	if err != nil {
		r.unsure = true
		return nil, err
	}
	clear(r.asked)
	out := make([]runner.Sighting, len(incs))
	for i, s := range signs {
		out[i] = runner.Sighting{Incarnation: incs[i], Subscribed: &signs[i].Subscribed, Beat: s.Beat, Reach: s.Reach}
		if !s.Subscribed {
			r.asked[incs[i]] = true
		}
	}
	return out, nil
}

// errUnsure: a call was not answered, and whoever answers the next one may be another server, at
// which nobody can have subscribed yet. The look at the records asks it first who it is.
var errUnsure = errors.New("not known which server answers")

// detector is package recovery's, in the runner's words.
type detector struct{ d *recovery.Detector }

// NewDetector tells who is dead of a ring whose workers have leases of that length.
func NewDetector(leaseTTL time.Duration) runner.Detector {
	rules := recovery.Default()
	rules.LeaseTTL = leaseTTL
	return detector{recovery.NewDetector(rules)}
}

func (x detector) LeaderChanged(now time.Time) { x.d.LeaderChanged(now) }

func (x detector) Observe(now time.Time, serverID string, serverTime time.Time, members []runner.Sighting) []runner.Death {
	o := recovery.Observation{Now: now, ServerID: serverID, ServerTime: serverTime}
	for _, m := range members {
		o.Members = append(o.Members, recovery.Seen(m))
	}
	var out []runner.Death
	for _, v := range x.d.Observe(o) {
		evidence := resize.EvidenceTTL
		if v.Evidence == recovery.Connection {
			evidence = resize.EvidenceConnection
		}
		out = append(out, runner.Death{Incarnation: v.Incarnation, Evidence: evidence, Beat: v.Beat})
	}
	return out
}
