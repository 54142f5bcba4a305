package service

import (
	"context"
	"log/slog"
	"os"

	"ringmaster/job"
)

// guarded keeps a logger of the user's from ending what logs. A line that the logger fails
// over goes to the substitute. Each call has a goroutine of its own, so that a logger that
// ends its goroutine (as a test does that fails) does not end ours.
type guarded struct{ user, substitute slog.Handler }

// Guard is a logger of the user's that ends nothing, whatever it does. Safe for concurrent use.
func Guard(user *slog.Logger) *slog.Logger {
	return slog.New(guarded{user.Handler(), slog.NewTextHandler(os.Stderr, nil)})
}

// Enabled implements slog.Handler.
func (g guarded) Enabled(ctx context.Context, level slog.Level) (on bool) {
	if why := job.Apart(func() { on = g.user.Enabled(ctx, level) }); why != "" {
		return g.substitute.Enabled(ctx, level)
	}
	return on
}

// Handle implements slog.Handler.
func (g guarded) Handle(ctx context.Context, r slog.Record) (err error) {
	own := r.Clone() // the user's may keep or change the other
	if why := job.Apart(func() { err = g.user.Handle(ctx, r) }); why != "" {
		own.AddAttrs(slog.String("logger_failed", why))
		return g.substitute.Handle(ctx, own)
	}
	return err
}

// WithAttrs implements slog.Handler.
func (g guarded) WithAttrs(attrs []slog.Attr) slog.Handler {
	return g.derive(func(h slog.Handler) slog.Handler { return h.WithAttrs(attrs) })
}

// WithGroup implements slog.Handler.
func (g guarded) WithGroup(name string) slog.Handler {
	return g.derive(func(h slog.Handler) slog.Handler { return h.WithGroup(name) })
}

// derive is a handler made of both. A user's that fails at it is left as it was.
func (g guarded) derive(of func(slog.Handler) slog.Handler) slog.Handler {
	next := guarded{g.user, of(g.substitute)}
	_ = job.Apart(func() { next.user = of(g.user) })
	return next
}
