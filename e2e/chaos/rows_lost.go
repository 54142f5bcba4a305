package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"ringmaster/internal/redisproc"
	"ringmaster/job"
)

// snapshots is a ring whose server keeps nothing but the snapshots that it is told to take.
func snapshots() RingSpec {
	return RingSpec{Name: "snapshot", Server: func(ctx context.Context, dir string) (Server, error) {
		s, err := redisproc.Start(ctx, redisproc.Options{Dir: filepath.Join(dir, "redis")})
		if err != nil {
			return nil, err
		}
		return single{s}, nil
	}}
}

// lostRows take from the server what it had acknowledged.
func lostRows() []Row {
	return []Row{
		{Number: 76, Name: "server killed, and restored from a snapshot of 2 s before", Expect: "lost is only what was acknowledged since; each such job is told as unknown, never as completed, also after later ones of its partition ran; jobs run on",
			Ring: snapshots(), Run: restoresOlder, Loss: true},
	}
}

func restoresOlder(ctx context.Context, r *Rig) error {
	s, err := serverOf[single](r)
	if err != nil {
		return err
	}
	raw := r.Raw()
	defer raw.Close()
	r.Pause(ctx, 500*time.Millisecond)
	before, from := r.pids(), time.Now()
	if err := raw.Save(ctx).Err(); err != nil {
		return fmt.Errorf("take a snapshot: %w", err)
	}
	r.Wait(ctx, 2*time.Second)
	// One that was told as completed: what is lost is not only what nobody had run.
	r.tasks++
	id, err := r.Submit(ctx, Work{}, fmt.Sprintf("lost-%d", r.tasks))
	if err != nil {
		return err
	}
	if err := r.Completed(ctx, id, 10*time.Second); err != nil {
		return err
	}
	cut := time.Now()
	r.Forgets()
	if err := s.Kill(); err != nil {
		return err
	}
	at := time.Now()
	if err := s.Restart(ctx); err != nil {
		return err
	}
	if err := sameProcesses(ctx, r, before, at, "server restored"); err != nil {
		return err
	}
	k, err := r.reckon(ctx)
	if err != nil {
		return err
	}
	if err := k.within(k.forgotten, from.Add(-noted), cut.Add(noted)); err != nil {
		return err
	}
	known, err := job.ParseID(id)
	if err != nil {
		return fmt.Errorf("id of a job: %w", err)
	}
	found := false
	for _, l := range k.forgotten {
		found = found || l.id == known
		if err := r.toldAsLost(ctx, l.id); err != nil {
			return err
		}
	}
	if !found {
		return notHit("job %s was not lost", id)
	}
	return nil
}

// toldAsLost: whoever asks for a job, or waits for it, hears that it is not known.
func (r *Rig) toldAsLost(ctx context.Context, id job.ID) error {
	st, err := r.Status(ctx, id.String())
	if !errors.Is(err, job.ErrUnknownJob) || st.State != job.Unknown {
		return fmt.Errorf("job %s is lost, and told as %q (%v)", id, st.State, err) //nolint:errorlint // told, not wrapped: it may be nil
	}
	if st, err := r.Store.Inspect().WaitJob(ctx, queueName, id.String(), time.Second); !errors.Is(err, job.ErrUnknownJob) {
		return fmt.Errorf("job %s is lost, and whoever waits for it is told %q (%v)", id, st.State, err) //nolint:errorlint // as above
	}
	return nil
}
