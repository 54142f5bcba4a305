package streams

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"ringmaster/internal/redistest"
	"ringmaster/job"
)

// follow reads n messages' field "n".
func follow(ctx context.Context, sub *Subscriber, n int) ([]string, error) {
	var got []string
	for len(got) < n {
		es, err := sub.Next(ctx)
		if err != nil {
			return got, err
		}
		for _, e := range es {
			got = append(got, e.Fields["n"])
		}
	}
	return got, nil
}

func publish(t *testing.T, ctx context.Context, p *Publisher, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		_, err := p.Publish(ctx, map[string]string{"type": "test", "n": strconv.Itoa(i)})
		must(t, err)
	}
}

func inOrder(t *testing.T, got []string, first int) {
	t.Helper()
	for i, s := range got {
		if s != strconv.Itoa(first+i) {
			t.Fatalf("want %d, %d, ..., got %v", first, first+1, got)
		}
	}
}

func TestEverySubscriberSeesEveryMessage(t *testing.T) {
	redistest.Each(t, func(t *testing.T, url, _ string) {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		s := openStore(t, url)
		q := Queue{Name: "q", Partitions: 1, Shards: 1}
		pub := NewPublisher(s, q)
		publish(t, ctx, pub, 0, 5)
		subs := []*Subscriber{NewSubscriber(s, q, FromStart), NewSubscriber(s, q, FromStart), NewSubscriber(s, q, FromNow)}
		for _, sub := range subs {
			must(t, sub.Start(ctx))
			defer func() { must(t, sub.Close()) }()
		}
		errs := make(chan error, len(subs))
		all := make([][]string, len(subs))
		for i, sub := range subs {
			go func() {
				n := 15
				if i == 2 {
					n = 10
				}
				var err error
				all[i], err = follow(ctx, sub, n)
				errs <- err
			}()
		}
		publish(t, ctx, pub, 5, 15)
		for range subs {
			must(t, <-errs)
		}
		inOrder(t, all[0], 0)
		inOrder(t, all[1], 0)
		inOrder(t, all[2], 5)

		resumed := NewSubscriber(s, q, subs[0].Position())
		defer func() { must(t, resumed.Close()) }()
		publish(t, ctx, pub, 15, 17)
		got, err := follow(ctx, resumed, 2)
		must(t, err)
		inOrder(t, got, 15)
	})
}

func TestSubscriberEndsInTime(t *testing.T) {
	redistest.Each(t, func(t *testing.T, url, _ string) {
		s := openStore(t, url)
		q := Queue{Name: "q", Partitions: 1, Shards: 1}
		sub := NewSubscriber(s, q, FromNow)
		began := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		if _, err := sub.Next(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 2*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		ended := make(chan error, 1)
		go func() {
			_, err := sub.Next(context.Background())
			ended <- err
		}()
		must(t, sub.Close())
		if err := <-ended; !errors.Is(err, ErrSubscriberClosed) {
			t.Error(err)
		}
		must(t, sub.Close())
		if _, err := NewSubscriber(s, q, "yesterday").Next(context.Background()); !errors.Is(err, job.ErrInvalid) {
			t.Error(err)
		}
		if _, err := NewPublisher(s, q).Publish(context.Background(), nil); !errors.Is(err, job.ErrInvalid) {
			t.Error(err)
		}
	})
}

func TestSubscriberResumesAfterARestart(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	server := redistest.Real(t, "--appendonly", "yes", "--appendfsync", "always")
	s := openStore(t, server.URL())
	q := Queue{Name: "q", Partitions: 1, Shards: 1}
	pub, sub := NewPublisher(s, q), NewSubscriber(s, q, FromStart)
	defer func() { must(t, sub.Close()) }()
	publish(t, ctx, pub, 0, 3)
	got, err := follow(ctx, sub, 3)
	must(t, err)
	inOrder(t, got, 0)

	server.Kill()
	short, cancelShort := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancelShort()
	if _, err := sub.Next(short); !errors.Is(err, context.DeadlineExceeded) || !IsUnreachable(err) {
		t.Errorf("while the server is down: %v", err)
	}
	server.Restart()
	must(t, s.Ping(ctx))
	publish(t, ctx, pub, 3, 6)
	got, err = follow(ctx, sub, 3)
	must(t, err)
	inOrder(t, got, 3)
}
