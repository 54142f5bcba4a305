package ringmaster_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"ringmaster"
)

// TestWhatCannotBeIsTold: at the first call that can have an error, before anything connects.
func TestWhatCannotBeIsTold(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // what is not refused ends at once
	fine := func(context.Context, ringmaster.Job[int]) error { return nil }
	run := func(of func(w *ringmaster.Worker)) error {
		w := &ringmaster.Worker{URL: "redis://127.0.0.1:1", Queues: []string{"q"}}
		of(w)
		return w.Run(ctx)
	}
	client := func(opts ...ringmaster.ClientOption) error {
		c, err := ringmaster.NewClient("redis://127.0.0.1:1", opts...)
		if err == nil {
			_ = c.Close()
		}
		return err
	}
	for name, c := range map[string]struct {
		err  error
		says []string
	}{
		"a handler that is fine": {run(func(w *ringmaster.Worker) { ringmaster.Handle(w, "a", fine) }), nil},
		"two of one type": {run(func(w *ringmaster.Worker) {
			ringmaster.Handle(w, "a", fine)
			ringmaster.Handle(w, "b", fine)
			ringmaster.Handle(w, "a", fine)
		}), []string{`type "a"`, "it has one already"}},
		"no name, and nil": {run(func(w *ringmaster.Worker) {
			ringmaster.Handle(w, "b c", fine)
			ringmaster.Handle[int](w, "n", nil)
			ringmaster.HandleResult[int, int](w, "r", nil)
		}), []string{`"b c"`, "want a letter or digit", `type "n": the handler is nil`, `type "r": the handler is nil`}},
		"a worker's mode": {run(func(w *ringmaster.Worker) {
			w.Mode = "foo"
			ringmaster.Handle(w, "a", fine)
		}), []string{"foo", "standalone|sentinel|cluster"}},
		"a client's mode":     {client(ringmaster.Mode("foo")), []string{"foo", "standalone|sentinel|cluster"}},
		"no mode":             {client(ringmaster.Mode("")), []string{"standalone|sentinel|cluster"}},
		"a dispatcher's mode": {ringmaster.Dispatch(ctx, "redis://127.0.0.1:1", nil, ringmaster.Mode("foo")), []string{"foo", "standalone|sentinel|cluster"}},
		"a mode that is one":  {client(ringmaster.Mode("standalone")), nil},
	} {
		if len(c.says) == 0 {
			if c.err != nil {
				t.Errorf("%s: %v", name, c.err)
			}
			continue
		}
		if !errors.Is(c.err, ringmaster.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, c.err)
			continue
		}
		for _, part := range c.says {
			if !strings.Contains(c.err.Error(), part) {
				t.Errorf("%s: %v; want %q", name, c.err, part)
			}
		}
	}
}
