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
		signs, err := run(ctx, r.s, r.s.cmd, &r.s.scripts.doubt, shard, args...)
		if err != nil {
			return nil, err
		}
		if len(signs) != len(page) {
			return nil, badAnswer("look at members without a connection", signs)
		}
		for k, i := range page {
			out[i] = signs[k].sign()
		}
	}
	return out, nil
}

// doubted is what the server knows of a member that is looked at once more.
type doubted struct {
	subscribers int
	beat        string // "": none is known
}

func readDoubted(v any) ([]doubted, bool) {
	var out []doubted
	r := listOf(v)
	for r.more() {
		out = append(out, doubted{r.count(), r.text()})
	}
	return out, r.whole()
}

func (d doubted) sign() Sign {
	if d.subscribers > 0 {
		return Sign{Subscribed: true}
	}
	_, rest, _ := strings.Cut(d.beat, " ")
	reach, _, _ := strings.Cut(rest, " ")
	ms, _ := strconv.ParseInt(reach, 10, 64) // unreadable: not known
	return Sign{Beat: d.beat, Reach: time.Duration(max(ms, 0)) * time.Millisecond}
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
