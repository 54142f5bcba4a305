package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"ringmaster/internal/failpoint"
	"ringmaster/internal/faultproxy"
	"ringmaster/job"
	"ringmaster/streams"
)

// behind is a server whose processes talk to it through a proxy.
type behind struct {
	Server
	proxy *faultproxy.Proxy
}

// ProcessURL is what the ring's processes are told.
func (b *behind) ProcessURL() string { return b.proxy.URL() }

// Close ends both.
func (b *behind) Close() {
	b.proxy.Close()
	b.Server.Close()
}

func behindProxy(ctx context.Context, dir string) (Server, error) {
	s, err := plainServer(ctx, dir)
	if err != nil {
		return nil, err
	}
	p, err := faultproxy.Start("127.0.0.1:0", strings.TrimPrefix(s.URL(), "redis://"))
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("start proxy: %w", err)
	}
	return &behind{s, p}, nil
}

func proxyRows() []Row {
	proxied := RingSpec{Name: "proxied", Server: behindProxy}
	return []Row{
		{Number: 54, Name: "every request 100 to 300 ms late, 5 of 100 reset", Expect: "more than 30 of 100 of the traffic", Ring: proxied, Run: noise},
		{Number: 55, Name: "connections cut in the middle of replies", Expect: "read as no answer; what it was is found again", Ring: proxied, Run: halves},
		{Number: 56, Name: "the answer to one submission lost three times", Expect: "repeated until it is answered; the job runs once", Run: lostAnswers(1)},
		{Number: 57, Name: "the answers to a batch of 100 lost; half a request sent", Expect: "every job runs once", Run: lostAnswers(100)},
	}
}

func noise(ctx context.Context, r *Rig) error {
	b := r.Server.(*behind)
	defer b.proxy.Disturb(faultproxy.Noise{}, 0)
	b.proxy.Disturb(faultproxy.Noise{Min: 100 * time.Millisecond, Max: 300 * time.Millisecond, Reset: 0.05}, r.Seed)
	long := time.Duration(r.Scale(10, 30, 60)) * time.Second
	before, began := b.proxy.Resets(), time.Now()
	r.Wait(ctx, 2*time.Second) // the producers fill their batches
	jobs, at := r.accepted(), time.Now()
	r.Wait(ctx, long-time.Since(began))
	rate := float64(r.accepted()-jobs) / time.Since(at).Seconds()
	resets := b.proxy.Resets() - before
	if resets < 5 {
		return notHit("%d resets", resets)
	}
	if rate < 0.3*float64(r.Spec.Rate) {
		return fmt.Errorf("%.0f jobs per second, of %d", rate, r.Spec.Rate)
	}
	r.Logf("%d resets, %.0f jobs per second of %d", resets, rate, r.Spec.Rate)
	b.proxy.Disturb(faultproxy.Noise{}, 0)
	_, err := r.Flows(ctx, 20*time.Second)
	return err
}

func halves(ctx context.Context, r *Rig) error {
	b := r.Server.(*behind)
	const times = 10
	for range times {
		rule := b.proxy.HalveReply(":jobs:", 1) // reads of jobs
		if r.Rand.IntN(2) == 0 {
			rule = b.proxy.HalveReply("evalsha", 1) // submissions, ends, heartbeats, plans
		}
		select {
		case <-rule.Fired():
		case <-time.After(5 * time.Second):
			return notHit("no reply was cut in halves")
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		r.Pause(ctx, 300*time.Millisecond)
	}
	_, err := r.Flows(ctx, 20*time.Second)
	return err
}

// lostAnswers submits jobs in one call through a proxy that loses the answers, and takes
// answers and half requests away from a producer.
func lostAnswers(n int) func(context.Context, *Rig) error {
	return func(ctx context.Context, r *Rig) error {
		proxy, err := faultproxy.Start("127.0.0.1:0", strings.TrimPrefix(r.url, "redis://"))
		if err != nil {
			return fmt.Errorf("start proxy: %w", err)
		}
		defer proxy.Close()
		store, err := streams.Open(streams.Options{URL: proxy.URL(), ClientName: "chaos"})
		if err != nil {
			return fmt.Errorf("open store: %w", err)
		}
		defer store.Close()
		feed := store.NewProducer(r.Queue)
		defer feed.Close()
		mark := r.mark("lost-answers")
		jobs, keys := make([]job.Job, n), make([]string, n)
		for i := range jobs {
			keys[i] = fmt.Sprintf("%s-%d", mark, i)
			jobs[i] = jobOf(Work{Token: keys[i], Mark: mark}, keys[i])
			r.book.invoked(keys[i], keys[i])
		}
		rule := proxy.LoseReply(mark, 3)
		call, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		receipts, errs := feed.Enqueue(call, jobs...)
		for i := range jobs {
			if errs != nil && errs[i] != nil {
				r.book.unknown(keys[i], keys[i])
				return fmt.Errorf("submit: %w", errs[i])
			}
			r.book.accepted(keys[i], keys[i], receipts[i])
		}
		if lost := len(rule.Executed()); lost < 3 {
			return notHit("%d answers were lost", lost)
		}
		for _, receipt := range receipts {
			if err := r.Completed(ctx, receipt.ID, 10*time.Second); err != nil {
				return err
			}
		}
		if got := r.Starts(mark); got != n {
			return fmt.Errorf("%d jobs were started %d times", n, got)
		}
		return r.cutProducer(ctx)
	}
}

// cutProducer takes the answers to a producer's submissions away, and sends half of some.
func (r *Rig) cutProducer(ctx context.Context) error {
	p := r.Live(producer)[0]
	for _, point := range []failpoint.Point{failpoint.E1, failpoint.E2, failpoint.E1} {
		since := time.Now()
		if err := p.Arm(point, "cut"); err != nil {
			return err
		}
		if _, err := r.Hit(ctx, p, point, since, 5*time.Second); err != nil {
			return err
		}
	}
	return nil
}
