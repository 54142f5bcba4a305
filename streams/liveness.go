package streams

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Sign is what the server knows of a member's life at one moment.
type Sign struct {
	Subscribed bool // somebody holds its liveness channel
	// Where it is not subscribed: the name of its last heartbeat, another after each, and how
	// long the member itself takes to connect, as it has measured. Empty and 0: not known.
	Beat  string
	Reach time.Duration
}

// signPage is how many members are looked at in one step of the server.
const signPage = 128

// Signs asks which members hold their liveness channel; those that do not are looked at once
// more, with their last heartbeat. Of these, each for which ask is true is asked for a beat
// at once. Parallel to incs. It blocks for a round trip, and one for each 128 of those.
func (r *Ring) Signs(ctx context.Context, incs []string, ask func(inc string) bool) ([]Sign, error) {
	shard := r.s.shard(r.q, 0)
	channels := make([]string, len(incs))
	for i, inc := range incs {
		channels[i] = aliveKey(shard, inc)
	}
	node, err := r.s.node(ctx, shard) // a cluster's nodes count their own subscribers
	if err != nil {
		return nil, notSent("ask for subscriptions", err)
	}
	n, err := node.PubSubNumSub(ctx, channels...).Result()
	if err != nil {
		return nil, wrap("ask for subscriptions", err)
	}
	out := make([]Sign, len(incs))
	var asked, others []int
	for i, c := range channels {
		subscribers, told := n[c]
		if !told {
			return nil, badAnswer("ask for subscriptions", n)
		}
		switch out[i].Subscribed = subscribers > 0; {
		case out[i].Subscribed:
		case ask(incs[i]):
			asked = append(asked, i)
		default:
			others = append(others, i)
		}
	}
	for page := range slices.Chunk(append(asked, others...), signPage) {
		args := make([]any, 1, 1+len(page))
		args[0] = min(len(asked), len(page))
		asked = asked[min(len(asked), len(page)):]
		for _, i := range page {
			args = append(args, incs[i])
		}
		v, err := r.s.run(ctx, r.s.cmd, &r.s.scripts.doubt, shard, args...)
		if err != nil {
			return nil, err
		}
		l := list(v)
		if len(l) != 2*len(page) {
			return nil, badAnswer("look at members without a connection", v)
		}
		for k, i := range page {
			out[i] = sign(number(l[2*k]), text(l[2*k+1]))
		}
	}
	return out, nil
}

func sign(subscribers uint64, beat string) Sign {
	if subscribers > 0 {
		return Sign{Subscribed: true}
	}
	_, rest, _ := strings.Cut(beat, " ")
	reach, _, _ := strings.Cut(rest, " ")
	ms, _ := strconv.ParseInt(reach, 10, 64) // unreadable: not known
	return Sign{Beat: beat, Reach: time.Duration(max(ms, 0)) * time.Millisecond}
}

// samples are the last few of something measured.
type samples []time.Duration

func (s *samples) add(d time.Duration, most int) {
	if *s = append(*s, d); len(*s) > most {
		*s = (*s)[1:]
	}
}

// low is the smallest: a process that was busy measures too much.
func (s samples) low() time.Duration {
	if len(s) == 0 {
		return 0
	}
	return slices.Min(s)
}

func (s samples) median() time.Duration {
	if len(s) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(s))[len(s)/2]
}
