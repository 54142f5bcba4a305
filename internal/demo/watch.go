package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"ringmaster/job"
	"ringmaster/streams"
)

const journalPage = 1000

// follower reads a queue's journal to its end, again and again.
type follower struct {
	store *streams.Store
	queue streams.Queue

	mu      sync.Mutex
	after   []string // by partition
	commits []Commit
	ended   map[string]bool // jobs with an end
}

func newFollower(store *streams.Store, q streams.Queue) *follower {
	return &follower{store: store, queue: q, after: make([]string, q.Partitions), ended: map[string]bool{}}
}

// catchUp reads what is new and returns the number of jobs that have ended.
func (f *follower) catchUp(ctx context.Context) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for p := range f.after {
		for {
			page, err := f.store.Inspect().Journal(ctx, f.queue.Name, p, f.after[p], journalPage)
			if err != nil {
				return len(f.ended), fmt.Errorf("read the journal of partition %d: %w", p, err)
			}
			for _, e := range page {
				f.after[p] = e.ID
				f.commits = append(f.commits, Commit{JobID: e.JobID, Key: e.Key, Outcome: byte(e.Outcome), Attempt: e.Attempt, Worker: e.Worker, Epoch: e.Epoch})
				f.ended[e.JobID] = true
			}
			if len(page) < journalPage {
				break
			}
		}
	}
	return len(f.ended), nil
}

// message is one entry of the control stream, as far as the demo reads it.
type message struct {
	at        time.Time // the server's clock, to the millisecond
	kind      string    // sync, join, leave, evict...
	name      string
	phase     int
	ringEpoch uint64
	data      json.RawMessage
}

func parseMessage(e job.ControlEntry) message {
	m := message{kind: e.Fields["type"], name: e.Fields["name"], data: json.RawMessage(e.Fields["data"])}
	if id, ok := job.ParseEntryID(e.ID); ok {
		m.at = id.Time()
	}
	m.phase, _ = strconv.Atoi(e.Fields["phase"]) // what is no number is no phase of the protocol
	m.ringEpoch, _ = strconv.ParseUint(e.Fields["epoch"], 10, 64)
	return m
}

// flip takes a change of owner out of a message of phase 2.
func (m message) flip() (Flip, bool) {
	if m.kind != "sync" || m.phase != 2 {
		return Flip{}, false
	}
	var data struct {
		Part  *int   `json:"part"`
		Epoch string `json:"part_epoch"`
		From  string `json:"from"`
	}
	if err := json.Unmarshal(m.data, &data); err != nil || data.Part == nil {
		return Flip{}, false
	}
	epoch, err := strconv.ParseUint(data.Epoch, 10, 64)
	return Flip{Partition: *data.Part, Epoch: epoch, RingEpoch: m.ringEpoch, From: data.From, At: m.at}, err == nil
}

// recorder keeps all messages of the control stream.
type recorder struct {
	mu       sync.Mutex
	messages []message
	news     chan struct{} // closed and made anew at every message
}

func newRecorder() *recorder { return &recorder{news: make(chan struct{})} }

// run records until ctx ends.
func (r *recorder) run(ctx context.Context, store *streams.Store, q streams.Queue) error {
	sub := streams.NewSubscriber(store, q, streams.FromStart)
	defer func() { _ = sub.Close() }() // it only reads
	for {
		entries, err := sub.Next(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("follow the control stream: %w", err)
		}
		r.mu.Lock()
		for _, e := range entries {
			r.messages = append(r.messages, parseMessage(e))
		}
		close(r.news)
		r.news = make(chan struct{})
		r.mu.Unlock()
	}
}

// mark is a place in the record.
func (r *recorder) mark() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.messages)
}

func (r *recorder) since(mark int) []message {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.messages[mark:len(r.messages):len(r.messages)]
}

// await waits for a message after mark for which ok holds.
func (r *recorder) await(ctx context.Context, mark int, limit time.Duration, ok func(message) bool) (message, error) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		r.mu.Lock()
		news := r.news
		all := r.messages[mark:]
		r.mu.Unlock()
		for _, m := range all {
			if ok(m) {
				return m, nil
			}
		}
		mark += len(all)
		select {
		case <-news:
		case <-timer.C:
			return message{}, errTooLate
		case <-ctx.Done():
			return message{}, context.Cause(ctx)
		}
	}
}

var errTooLate = errors.New("it did not happen in time")

func joinOf(name string) func(message) bool {
	return func(m message) bool { return m.kind == "join" && strings.HasPrefix(m.name, name+".") }
}

func planned(m message) bool { return m.kind == "sync" && m.phase == 1 }

// flips of the messages, and the number of plans that moved something.
func flipsOf(messages []message) (flips []Flip, resizes int) {
	plans := map[uint64]bool{}
	for _, m := range messages {
		if f, ok := m.flip(); ok {
			flips = append(flips, f)
			plans[f.RingEpoch] = true
		}
	}
	return flips, len(plans)
}
