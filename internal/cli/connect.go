package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ringmaster/configs"
	"ringmaster/configs/load"
	"ringmaster/internal/service"
	"ringmaster/job"
	"ringmaster/streams"
)

// embeddedTimeout is short: a store in memory is on this machine.
const embeddedTimeout = 300 * time.Millisecond

// connection is a store that has answered, and how to print what it says.
type connection struct {
	*streams.Store
	out printer
}

// settings loads ringctl's settings and says their warnings.
func (s *session) settings(cmd *cobra.Command) (configs.Ringctl, load.Report, error) {
	cfg, report, err := load.Ringctl(cmd.Flags(), configFile(cmd), s.env.Environ)
	warn(s.env.Stderr, report.Warnings)
	return cfg, report, err
}

func configFile(cmd *cobra.Command) string {
	if f := cmd.Flags().Lookup("config"); f != nil {
		return f.Value.String()
	}
	return ""
}

func warn(w io.Writer, warnings []string) {
	for _, text := range warnings {
		_, _ = fmt.Fprintf(w, "warning: %s\n", text)
	}
}

// connected makes a command's body of f: it is called with a store that answers.
func (s *session) connected(f func(ctx context.Context, c *connection, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		cfg, _, err := s.settings(cmd)
		if err != nil {
			return err
		}
		store, err := openStore(cmd.Context(), cfg.Common, s.env)
		if err != nil {
			return err
		}
		defer func() { _ = store.Close() }() // everything has been answered
		return f(cmd.Context(), &connection{store, printer{s.env.Stdout, cfg.Output}}, args)
	}
}

// openStore connects, or says which address does not answer and which one would.
func openStore(ctx context.Context, c configs.Common, env Env) (*streams.Store, error) {
	store, err := service.Open(c, "ringctl")
	if err != nil {
		return nil, err
	}
	err = store.Ping(ctx)
	if err == nil {
		return store, nil
	}
	_ = store.Close()
	if ctx.Err() != nil || !streams.IsUnreachable(err) {
		return nil, fmt.Errorf("ask %s: %w", configs.RedactURL(c.Redis), err)
	}
	if streams.Answered(err) {
		return nil, &unreachable{fmt.Sprintf("Redis at %s refuses: %s", configs.RedactURL(c.Redis), reason(err))}
	}
	text := fmt.Sprintf("no answer from Redis at %s: %s", configs.RedactURL(c.Redis), reason(err))
	if hint := embeddedHint(ctx, c, env); hint != "" {
		text += "\n" + hint
	}
	return nil, &unreachable{text}
}

// embeddedHint names the store in memory that answers instead of what is configured; "": none does.
func embeddedHint(ctx context.Context, c configs.Common, env Env) string {
	url := env.embeddedURL()
	if url == c.Redis || !embeddedAnswers(ctx, url) {
		return ""
	}
	return fmt.Sprintf("A store in memory answers at %s: add --redis %s", strings.TrimPrefix(url, "redis://"), url)
}

// unreachable is an ErrUnavailable in words for people.
type unreachable struct{ text string }

func (u *unreachable) Error() string { return u.text }
func (u *unreachable) Unwrap() error { return job.ErrUnavailable }

// reason is the innermost cause, which says what happened without saying it again.
func reason(err error) string {
	text := strings.TrimPrefix(err.Error(), "ping: ")
	text = strings.TrimPrefix(text, job.ErrUnavailable.Error()+": ")
	return strings.TrimPrefix(text, job.ErrOutcomeUnknown.Error()+": ")
}

func embeddedAnswers(ctx context.Context, url string) bool {
	c := configs.DefaultCommon()
	c.Redis = url
	store, err := service.Open(c, "ringctl")
	if err != nil {
		return false
	}
	defer func() { _ = store.Close() }() // it was only asked who it is
	ctx, cancel := context.WithTimeout(ctx, embeddedTimeout)
	defer cancel()
	return store.Ping(ctx) == nil && store.Embedded()
}
