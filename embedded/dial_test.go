package embedded

import (
	"errors"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// inMemory gives a client without sockets and retries, which asks no name server for where it is.
func inMemory(t *testing.T, s *Store) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: "memory:1", Dialer: s.Dial, MaxRetries: -1, DialerRetries: 1,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// A store without an address lives in virtual time: what blocks, and what expires, does so at once.
func TestInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := New()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		if s.URL() != "" || s.Addr() != "" {
			t.Errorf("it has an address: %q %q", s.URL(), s.Addr())
		}
		c, ctx := inMemory(t, s), t.Context()
		began := time.Now()
		err = c.XRead(ctx, &redis.XReadArgs{Streams: []string{"k", "$"}, Block: 2 * time.Second}).Err()
		if !errors.Is(err, redis.Nil) || time.Since(began) != 2*time.Second {
			t.Errorf("a blocked read: %v after %v", err, time.Since(began))
		}
		if err := c.Set(ctx, "k", 1, time.Hour).Err(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour - time.Second)
		if n := c.Exists(ctx, "k").Val(); n != 1 {
			t.Error("it has gone too early")
		}
		time.Sleep(time.Second)
		if n := c.Exists(ctx, "k").Val(); n != 0 {
			t.Error("it outlived its time")
		}
		// More than a pipe without a buffer takes: both sides write before they read.
		pipe := c.Pipeline()
		for i := range 2000 {
			pipe.XAdd(ctx, &redis.XAddArgs{Stream: "many", Values: []any{"n", strconv.Itoa(i)}})
		}
		if _, err := pipe.Exec(ctx); err != nil {
			t.Error(err)
		}
		if n := c.XLen(ctx, "many").Val(); n != 2000 {
			t.Errorf("%d entries", n)
		}
	})
}

// Close ends what is blocked, and nothing is left running.
func TestCloseInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := New()
		if err != nil {
			t.Fatal(err)
		}
		c := inMemory(t, s)
		ended := make(chan error, 1)
		go func() {
			ended <- c.XRead(t.Context(), &redis.XReadArgs{Streams: []string{"k", "$"}, Block: time.Hour}).Err()
		}()
		synctest.Wait()
		began := time.Now()
		s.Close()
		s.Close()
		if err := <-ended; err == nil || errors.Is(err, redis.Nil) || time.Since(began) != 0 {
			t.Errorf("the blocked read: %v after %v", err, time.Since(began))
		}
		if conn, err := s.Dial(t.Context(), "", ""); err == nil {
			_ = conn.Close()
			t.Error("a closed store was dialled")
		}
	})
}

// A client that is closed, or told to go, leaves nothing behind, and takes nothing with it.
func TestKillInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := New()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		victim, killer, ctx := inMemory(t, s), inMemory(t, s), t.Context()
		id := victim.ClientID(ctx).Val()
		ended := make(chan error, 1)
		go func() {
			ended <- victim.XRead(ctx, &redis.XReadArgs{Streams: []string{"k", "$"}, Block: time.Hour}).Err()
		}()
		synctest.Wait()
		if n := killer.ClientKillByFilter(ctx, "ID", strconv.FormatInt(id, 10)).Val(); n != 1 {
			t.Errorf("killed %d", n)
		}
		if err := <-ended; err == nil || errors.Is(err, redis.Nil) {
			t.Errorf("the blocked read: %v", err)
		}
	})
}
