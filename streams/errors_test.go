package streams

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"ringmaster/job"
)

// answering is a server that gives every command the same answer; "" closes the
// connection, "-" never answers.
func answering(t *testing.T, answer string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	serve := func(conn net.Conn) {
		defer func() { _ = conn.Close() }()
		wg.Go(func() { <-stop; _ = conn.Close() })
		r := bufio.NewReader(conn)
		for {
			var n, size int
			if _, err := fmt.Fscanf(r, "*%d\r\n", &n); err != nil {
				return
			}
			first := ""
			for i := range n {
				if _, err := fmt.Fscanf(r, "$%d\r\n", &size); err != nil {
					return
				}
				arg := make([]byte, size+2)
				if _, err := io.ReadFull(r, arg); err != nil {
					return
				}
				if i == 0 {
					first = strings.ToLower(string(arg[:size]))
				}
			}
			reply := answer
			if first == "client" || first == "hello" {
				reply = "-ERR unknown command\r\n" // what go-redis sends at first
			}
			switch reply {
			case "":
				return
			case "-":
				continue
			}
			if _, err := io.WriteString(conn, reply); err != nil {
				return
			}
		}
	}
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		close(stop)
		wg.Wait()
	})
	return l.Addr().String()
}

// One row for each answer that a server or the way to it can give.
func TestErrorClasses(t *testing.T) {
	final := errors.New("final") // no sentinel: what the server said stands
	for _, row := range []struct {
		answer string
		fate   fate
		kind   error
	}{
		{"-LOADING Redis is loading the dataset in memory", fateNotExecuted, job.ErrUnavailable},
		{"-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.", fateNotExecuted, job.ErrUnavailable},
		{"-TRYAGAIN Multiple keys request during rehashing of slot", fateNotExecuted, job.ErrUnavailable},
		{"-CLUSTERDOWN The cluster is down", fateNotExecuted, job.ErrUnavailable},
		{"-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", fateNotExecuted, job.ErrUnavailable},
		{"-NOREPLICAS Not enough good replicas to write.", fateNotExecuted, job.ErrUnavailable},
		{"-READONLY You can't write against a read only replica.", fateNotExecuted, job.ErrUnavailable},
		{"-MOVED 3999 127.0.0.1:6381", fateNotExecuted, job.ErrUnavailable},
		{"-ASK 3999 127.0.0.1:6381", fateNotExecuted, job.ErrUnavailable},
		{"-MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.", fateNotExecuted, job.ErrUnavailable},
		{"-NOAUTH Authentication required.", fateNotExecuted, job.ErrUnavailable},
		{"-WRONGPASS invalid username-password pair or user is disabled.", fateNotExecuted, job.ErrUnavailable},
		{"-NOPERM this user has no permissions to run the 'evalsha' command", fateNotExecuted, job.ErrUnavailable},
		{"-ERR max number of clients reached", fateNotExecuted, job.ErrUnavailable},
		{"-NOSCRIPT No matching script. Please use EVAL.", fateNotExecuted, job.ErrUnavailable},
		{"-OOM command not allowed when used memory > 'maxmemory'.", fateNotExecuted, job.ErrFull},
		{"-NOGROUP No such key 'x' or consumer group 'y' in XREADGROUP with GROUP option", fateExecuted, job.ErrGroupGone},
		{"-UNBLOCKED the stream key no longer exists", fateExecuted, job.ErrGroupGone},
		{"-UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)", fateExecuted, job.ErrGroupGone},
		{"-WRONGTYPE Operation against a key holding the wrong kind of value", fateExecuted, final},
		{"-ERR The stream has exhausted the last possible ID, unable to add more items", fateExecuted, final},
		{"-ERR The ID specified in XADD is equal or smaller than the target stream top item", fateExecuted, final},
		{"-EXECABORT Transaction discarded because of previous errors.", fateExecuted, final},
		{"-ERR unknown command 'x'", fateExecuted, final},
		{"-CONFLICT idempotency key was used for another job", fateExecuted, job.ErrConflict},
		{"-NOQUEUE partition 3 has no record", fateExecuted, job.ErrNotFound},
		{"-STALE sequence 1 after 2", fateExecuted, errStale},
		{"$-1", fateExecuted, nil},
		{"", fateUnknown, job.ErrOutcomeUnknown},  // EOF after sending
		{"-", fateUnknown, job.ErrOutcomeUnknown}, // no answer in time
	} {
		t.Run(strings.Trim(row.answer[:min(20, len(row.answer))], "-"), func(t *testing.T) {
			answer := row.answer
			if len(answer) > 1 {
				answer += "\r\n"
			}
			client := redis.NewClient(&redis.Options{Addr: answering(t, answer), MaxRetries: -1, ReadTimeout: 50 * time.Millisecond, DisableIdentity: true, Protocol: 2})
			defer func() { _ = client.Close() }()
			err := client.Do(context.Background(), "SET", "a", "b").Err()
			checkKind(t, err, row.fate, row.kind)
			if wrapped := wrap("doing", err); row.kind == final && (wrapped == nil || IsUnreachable(wrapped)) {
				t.Errorf("%v", wrapped)
			}
		})
	}
}

func checkKind(t *testing.T, err error, want fate, kind error) {
	t.Helper()
	if got := classify(err); got != want {
		t.Errorf("%v: fate %d, want %d", err, got, want)
	}
	wrapped := wrap("doing", err)
	for _, k := range []error{job.ErrUnavailable, job.ErrOutcomeUnknown, job.ErrFull, job.ErrGroupGone, job.ErrConflict, job.ErrNotFound, errStale} {
		if errors.Is(wrapped, k) != (k == kind) {
			t.Errorf("%v: is %q: %v", wrapped, k, k != kind)
		}
	}
	if kind == nil && wrapped != nil {
		t.Errorf("%v is an error", wrapped)
	}
	if kind == job.ErrUnavailable || kind == job.ErrOutcomeUnknown {
		if !IsUnreachable(wrapped) && !errors.Is(wrapped, job.ErrNotPermitted) {
			t.Errorf("%v: is not held to be unreachable", wrapped)
		}
	}
}

func TestNeverSent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	addr := l.Addr().String()
	must(t, l.Close())
	client := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1, DialerRetries: 1})
	defer func() { _ = client.Close() }()
	checkKind(t, client.Ping(context.Background()).Err(), fateNotExecuted, job.ErrUnavailable)
	must(t, client.Close())
	checkKind(t, client.Ping(context.Background()).Err(), fateNotExecuted, job.ErrUnavailable)
	nowhere := redis.NewClient(&redis.Options{Addr: "nowhere.invalid:1", MaxRetries: -1, DialerRetries: 1})
	defer func() { _ = nowhere.Close() }()
	checkKind(t, nowhere.Ping(context.Background()).Err(), fateNotExecuted, job.ErrUnavailable)
}

// A user without the right to ask INFO still runs scripts.
func TestServerThatDoesNotTellWhatItIs(t *testing.T) {
	c := realCrew(t, Queue{}) // the in-memory store has no users
	must(t, c.raw.Do(c.ctx, "ACL", "SETUSER", "w", "on", ">secret", "~rm:*", "&*", "+@all", "-info").Err())
	s, err := Open(Options{URL: strings.Replace(c.url, "redis://", "redis://w:secret@", 1)})
	must(t, err)
	defer func() { _ = s.Close() }()
	must(t, s.Ping(c.ctx))
	c.expect("embedded", s.Embedded(), false)
	if _, err := s.CreateQueue(c.ctx, Queue{Name: "r"}); err != nil {
		t.Error(err)
	}
	if strings.Contains(s.Address(), "secret") {
		t.Error(s.Address())
	}
}
