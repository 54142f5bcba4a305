package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

func power() RingSpec { return RingSpec{Name: "power", Server: poweredServer} }

// powerRows take the power, or the disk, from the server.
func powerRows() []Row {
	return []Row{
		{Number: 38, Name: "power cut; the file synced at every write", Expect: "nothing acknowledged is lost", Ring: power(), Run: losesPower},
		{Number: 39, Name: "power cut; the file synced every second", Expect: "only what was acknowledged in the last 2 s may be lost; nothing ends twice beyond what was forgotten; jobs run on", Ring: power(), Run: losesItsLastSecond, Loss: true},
		{Number: 40, Name: "power cut while the file is rewritten", Expect: "as 38", Ring: power(), Run: losesPowerInRewrite},
		{Number: 71, Name: "the server's disk is full, synced every second, then at every write", Expect: "submissions are refused and nothing is lost; with room again jobs run (at every write the server ends, and is started again)",
			Ring: RingSpec{Name: "disk", Server: smallDiskServer}, Run: diskFull},
	}
}

// outage cuts the power, gives it back and waits until jobs run.
func outage(ctx context.Context, r *Rig, s powered) (lost int64, err error) {
	before := r.pids()
	lost, err = s.Cut()
	if err != nil {
		return lost, err
	}
	r.Pause(ctx, time.Second)
	at := time.Now()
	if err := s.Restart(ctx); err != nil {
		return lost, err
	}
	return lost, sameProcesses(ctx, r, before, at, "server restarted")
}

func losesPower(ctx context.Context, r *Rig) error {
	s, err := serverOf[powered](r)
	if err != nil {
		return err
	}
	r.Pause(ctx, 500*time.Millisecond)
	_, err = outage(ctx, r, s)
	return err
}

func losesItsLastSecond(ctx context.Context, r *Rig) error {
	s, err := serverOf[powered](r)
	if err != nil {
		return err
	}
	if err := r.config(ctx, "appendfsync", "everysec"); err != nil {
		return err
	}
	r.Wait(ctx, 2*time.Second)
	err = r.Until(ctx, "something is not synced", 10*time.Second, func() bool {
		n, err := s.Unsynced()
		return err == nil && n > 100<<10
	})
	if err != nil {
		return notHit("%w", err)
	}
	cut := time.Now()
	r.Forgets()
	lost, err := outage(ctx, r, s)
	if err != nil {
		return err
	}
	r.Logf("%d bytes lost", lost)
	return forgotten(ctx, r, cut.Add(-2*time.Second), cut)
}

func losesPowerInRewrite(ctx context.Context, r *Rig) error {
	s, err := serverOf[powered](r)
	if err != nil {
		return err
	}
	raw := r.Raw()
	defer raw.Close()
	err = r.Until(ctx, "a rewrite is under way", 10*time.Second, func() bool {
		_ = raw.BgRewriteAOF(ctx).Err() // refused while one is
		info, err := raw.Info(ctx, "persistence").Result()
		return err == nil && strings.Contains(info, "aof_rewrite_in_progress:1")
	})
	if err != nil {
		return notHit("%w", err)
	}
	r.Pause(ctx, 30*time.Millisecond)
	_, err = outage(ctx, r, s)
	return err
}

func diskFull(ctx context.Context, r *Rig) error {
	s, err := serverOf[onDisk](r)
	if err != nil {
		return err
	}
	if err := r.config(ctx, "appendfsync", "everysec"); err != nil {
		return err
	}
	before := r.pids()
	if err := s.disk.Fill(); err != nil {
		return err
	}
	raw := r.Raw()
	defer raw.Close()
	err = r.Until(ctx, "the server refuses", 15*time.Second, func() bool {
		err := raw.Set(ctx, "probe", 1, 0).Err()
		return err != nil && strings.HasPrefix(err.Error(), "MISCONF")
	})
	if err != nil {
		return errors.Join(notHit("%w", err), s.disk.Drain())
	}
	if _, err := r.status(ctx); err == nil {
		return errors.New("a submission was taken with a full disk")
	}
	r.Wait(ctx, 2*time.Second)
	if err := s.disk.Drain(); err != nil {
		return err
	}
	if err := sameProcesses(ctx, r, before, time.Now(), ""); err != nil {
		return fmt.Errorf("with room again: %w", err)
	}
	if err := r.config(ctx, "appendfsync", "always"); err != nil {
		return err
	}
	if err := s.disk.Fill(); err != nil {
		return err
	}
	if err := r.Until(ctx, "the server ends", 15*time.Second, func() bool { return s.PID() == 0 }); err != nil {
		return errors.Join(notHit("%w", err), s.disk.Drain())
	}
	if err := s.disk.Drain(); err != nil {
		return err
	}
	at := time.Now()
	if err := s.Restart(ctx); err != nil {
		return err
	}
	return sameProcesses(ctx, r, before, at, "server restarted")
}

// status tries to hand one job in, once, and returns what the producer is told.
func (r *Rig) status(ctx context.Context) (string, error) {
	call, cancel := context.WithTimeout(ctx, 1500*time.Millisecond)
	defer cancel()
	r.tasks++
	token := fmt.Sprintf("runner-%d", r.tasks)
	key := fmt.Sprintf("try-%d", r.tasks)
	r.book.invoked(token, key)
	receipts, errs := r.feed.Enqueue(call, jobOf(Work{Token: token}, key))
	if errs != nil {
		r.book.unknown(token, key)
		return "", errs[0]
	}
	r.book.accepted(token, key, receipts[0])
	return receipts[0].ID, nil
}
