package bench

import (
	"context"
	"fmt"
	"os"
	"time"

	"ringmaster/internal/pause"
	"ringmaster/internal/redisproc"
)

// Where says which server is measured, and who hears of it.
type Where struct {
	Redis      string       // a server to use; empty: one of its own for each sample
	ServerArgs []string     // of those it starts, which persist nothing by themselves
	Progress   func(string) // a line for people; may be nil
}

func (w Where) tell(format string, args ...any) {
	if w.Progress != nil {
		w.Progress(fmt.Sprintf(format, args...))
	}
}

// on calls work with the server's URL: a server that lives so long, or the user's.
func (w Where) on(ctx context.Context, work func(url string) error) error {
	if w.Redis != "" {
		return work(w.Redis)
	}
	dir, err := os.MkdirTemp("", "ringmaster-bench-")
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	s, err := redisproc.Start(ctx, redisproc.Options{Dir: dir, Args: w.ServerArgs})
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	defer func() { _ = s.Kill() }()
	return work(s.URL())
}

// wait ends after d, or with ctx.
func wait(ctx context.Context, d time.Duration) error {
	if !pause.For(ctx, d) {
		return fmt.Errorf("bench: %w", context.Cause(ctx))
	}
	return nil
}

// paced calls send n times, evenly, so many times a second. What is late comes at once.
func paced(ctx context.Context, perSecond float64, n int, send func(i int) error) error {
	began := time.Now()
	for i := range n {
		due := began.Add(time.Duration(float64(i) / perSecond * float64(time.Second)))
		if d := time.Until(due); d > 0 {
			if err := wait(ctx, d); err != nil {
				return err
			}
		}
		if err := send(i); err != nil {
			return err
		}
	}
	return nil
}
