package demo

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

const barWidth = 24

// quietEvery is how often progress is said where no bar can be drawn.
const quietEvery = 5 * time.Second

// progress says on stderr how far the demo is: lines, and on a terminal below them a bar.
type progress struct {
	w        io.Writer
	jobs     int
	terminal bool
	color    bool
	began    time.Time

	mu      sync.Mutex
	drawn   bool // a bar is on the last line
	ended   int
	said    time.Time
	stopped bool
}

func newProgress(o Options, began time.Time) *progress {
	return &progress{w: o.Stderr, jobs: o.Jobs, terminal: o.Interacts, color: o.Color, began: began, said: began}
}

// say writes one line.
func (p *progress) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wipe()
	// A stderr that is gone is no reason to stop.
	_, _ = fmt.Fprintf(p.w, "%5.1fs  %s\n", time.Since(p.began).Seconds(), fmt.Sprintf(format, args...))
}

// set tells how many jobs are submitted and have ended.
func (p *progress) set(fed, ended int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = ended
	switch {
	case p.stopped:
	case p.terminal:
		p.wipe()
		_, _ = io.WriteString(p.w, p.bar(fed, ended))
		p.drawn = true
	case time.Since(p.said) >= quietEvery:
		p.said = time.Now()
		_, _ = fmt.Fprintf(p.w, "%5.1fs  %d of %d jobs submitted, %d completed\n", time.Since(p.began).Seconds(), fed, p.jobs, ended)
	}
}

// done is the number of jobs that have ended, as far as is known.
func (p *progress) done() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended
}

// bar shows ended jobs as full, submitted ones as begun.
func (p *progress) bar(fed, ended int) string {
	full, begun := barWidth*ended/p.jobs, barWidth*fed/p.jobs
	filled := strings.Repeat("#", min(full, barWidth))
	waiting := strings.Repeat("-", min(max(begun-full, 0), barWidth-len(filled)))
	rest := strings.Repeat(" ", barWidth-len(filled)-len(waiting))
	if p.color {
		filled = "\x1b[32m" + filled + "\x1b[0m"
	}
	return fmt.Sprintf("[%s%s%s] %d/%d", filled, waiting, rest, ended, p.jobs)
}

// stop takes the bar away for good.
func (p *progress) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wipe()
	p.stopped = true
}

func (p *progress) wipe() {
	if p.drawn {
		_, _ = io.WriteString(p.w, "\r\x1b[K")
		p.drawn = false
	}
}
