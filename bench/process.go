package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"ringmaster/internal/reexec"
)

// started tells that a worker process has begun a job.
type started struct {
	worker string
	n      int
	at     time.Time // by this process's clock, when its line was read
}

// crew are the worker processes of a run.
type crew struct {
	binary string // has the command WorkerCommand
	redis  string
	starts chan started
	mu     sync.Mutex
	all    []*process
}

// process is one worker.
type process struct {
	cmd    *exec.Cmd
	stdin  io.Closer     // open as long as this process lives
	ready  chan struct{} // closed when it is a member
	ended  chan struct{} // closed when it has been waited for
	stderr tail
}

func newCrew(binary, redis string) *crew {
	return &crew{binary: binary, redis: redis, starts: make(chan started, 4096)}
}

// start starts a worker and waits until it is a member.
func (c *crew) start(ctx context.Context, name string, concurrency int) (*process, error) {
	return c.launch(ctx, workerSpec{Name: name, Concurrency: concurrency})
}

// launch starts a process and waits until it is ready.
func (c *crew) launch(ctx context.Context, w workerSpec) (*process, error) {
	name := w.Name
	w.Redis = c.redis
	// It ends by kill, not with the context of its start.
	p := &process{cmd: exec.CommandContext(context.WithoutCancel(ctx), c.binary, WorkerCommand), ready: make(chan struct{}), ended: make(chan struct{})}
	p.cmd.Env = []string{"HOME=" + os.Getenv("HOME")}
	p.cmd.Stderr = &p.stderr
	p.cmd.SysProcAttr = reexec.Group()
	stdin, err1 := p.cmd.StdinPipe()
	stdout, err2 := p.cmd.StdoutPipe()
	if err := errors.Join(err1, err2, p.cmd.Start()); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p.stdin = stdin
	c.mu.Lock()
	c.all = append(c.all, p)
	c.mu.Unlock()
	go p.follow(name, stdout, c.starts) // ends with the process; end waits for it
	spec, err := json.Marshal(w)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	if _, err := stdin.Write(append(spec, '\n')); err != nil {
		return nil, fmt.Errorf("start %s: %w: %s", name, err, p.stderr.String())
	}
	select {
	case <-p.ready:
		return p, nil
	case <-p.ended:
		return nil, fmt.Errorf("%s ended before it was ready: %s", name, p.stderr.String())
	case <-ctx.Done():
		return nil, fmt.Errorf("start %s: %w", name, context.Cause(ctx))
	}
}

// follow reads what the process tells, then waits for its end.
func (p *process) follow(name string, stdout io.Reader, starts chan<- started) {
	defer close(p.ended)
	ready := sync.OnceFunc(func() { close(p.ready) })
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		at := time.Now()
		word, what, _ := strings.Cut(lines.Text(), " ")
		if word == "ready" {
			ready()
		}
		if n, err := strconv.Atoi(what); err == nil && word == "start" {
			starts <- started{name, n, at}
		}
	}
	_ = p.cmd.Wait() // they are killed
}

// kill ends it at once, as a crash does. It does not wait.
func (p *process) kill() { _ = p.cmd.Process.Kill() }

// end kills what still runs and waits for all.
func (c *crew) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	gone := make(chan struct{})
	defer close(gone)
	go func() { // nobody listens any more
		for {
			select {
			case <-c.starts:
			case <-gone:
				return
			}
		}
	}()
	for _, p := range c.all {
		p.kill()
	}
	for _, p := range c.all {
		<-p.ended
		_ = p.stdin.Close()
	}
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	t.text = t.text[max(0, len(t.text)-1500):]
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.text))
}
