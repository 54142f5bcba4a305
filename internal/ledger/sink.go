package ledger

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"

	"ringmaster/job"
)

// Sink is a system outside that handlers write to, and that compares fences: of each key
// it remembers the highest fence and the last job, and refuses what is below. With that,
// an effect happens once however often its handler runs, and never behind a later one.
// Kleppmann, "How to do distributed locking", is where the idea is explained best.
//
// It lives in one process and is reached through a socket, so that workers that are
// stopped or killed hold nothing of it.
type Sink struct {
	l    net.Listener
	w    *Writer
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu    sync.Mutex
	keys  map[string]mark
	alone map[job.ID]bool // jobs without a key
}

type mark struct {
	fence uint64
	last  job.EntryID
}

// Answers of a Sink.
const (
	Took   = "took"   // the effect happened now
	Before = "before" // it had happened
	Fenced = "fenced" // it did not happen: somebody with a higher fence was here
)

// NewSink begins to serve at the path of a socket, and writes what it takes to a ledger.
func NewSink(path string, w *Writer) (*Sink, error) {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("open sink: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &Sink{l: l, w: w, stop: stop, keys: map[string]mark{}, alone: map[job.ID]bool{}}
	s.wg.Go(func() { s.serve(ctx) })
	return s, nil
}

// Close ends it and waits for what is under way.
func (s *Sink) Close() {
	s.stop()
	_ = s.l.Close()
	s.wg.Wait()
}

func (s *Sink) serve(ctx context.Context) {
	for {
		c, err := s.l.Accept()
		if err != nil {
			return
		}
		s.wg.Go(func() {
			defer context.AfterFunc(ctx, func() { _ = c.Close() })()
			defer func() { _ = c.Close() }()
			s.answer(c)
		})
	}
}

func (s *Sink) answer(c net.Conn) {
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return // its process was killed
	}
	f := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 3)
	if len(f) != 3 {
		return
	}
	id, err1 := job.ParseID(f[0])
	fence, err2 := strconv.ParseUint(f[1], 10, 64)
	key, err3 := strconv.Unquote(f[2])
	if err1 != nil || err2 != nil || err3 != nil {
		return
	}
	_, _ = c.Write([]byte(s.Take(id, key, fence) + "\n"))
}

// Take decides on one effect and writes it down.
func (s *Sink) Take(id job.ID, key string, fence uint64) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	answer := s.decide(id, key, fence)
	r := Record{Kind: Effect, Job: id, Key: key, Fence: fence}
	if answer != Took {
		r.Kind, r.Note = Kept, answer
	}
	s.w.Write(r)
	return answer
}

func (s *Sink) decide(id job.ID, key string, fence uint64) string {
	if key == "" { // no order, so nothing to compare the fence with
		if s.alone[id] {
			return Before
		}
		s.alone[id] = true
		return Took
	}
	m := s.keys[key]
	switch {
	case fence < m.fence:
		return Fenced
	case !m.last.Less(id.Entry):
		s.keys[key] = mark{fence, m.last}
		return Before
	}
	s.keys[key] = mark{fence, id.Entry}
	return Took
}

// Put asks the sink at a path for the effect of a run, and returns its answer. It blocks
// until that comes or ctx ends.
func Put(ctx context.Context, path string, d job.Delivery) (string, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err != nil {
		return "", fmt.Errorf("reach sink: %w", err)
	}
	defer func() { _ = c.Close() }()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	if _, err := fmt.Fprintf(c, "%s %d %s\n", d.ID, uint64(d.Fence), strconv.Quote(d.Key)); err != nil {
		return "", fmt.Errorf("ask sink: %w", err)
	}
	answer, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("ask sink: %w", err)
	}
	return strings.TrimSuffix(answer, "\n"), nil
}
