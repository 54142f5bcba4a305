package ringmaster_test

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/auth"

	"ringmaster"
	"ringmaster/internal/redistest"
)

// TestConnectionsLikeAnOwnClients: a party of each kind works over what the client names, and not over
// the client itself.
func TestConnectionsLikeAnOwnClients(t *testing.T) {
	secret := redistest.Real(t)
	admin := redis.NewClient(&redis.Options{Addr: secret.Addr()})
	defer admin.Close()
	if err := admin.ConfigSet(t.Context(), "requirepass", "open").Err(); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "redis.sock")
	redistest.Real(t, "--unixsocket", socket)
	primary := redistest.Real(t)
	redistest.Replica(t, primary)
	var dialled, greeted atomic.Int64
	tests := map[string]redis.UniversalClient{
		"a dialer and credentials": redis.NewClient(&redis.Options{
			Addr: "not.asked.for.invalid:1",
			CredentialsProviderContext: func(context.Context) (string, string, error) {
				return "default", "open", nil
			},
			Dialer: func(ctx context.Context, _, _ string) (net.Conn, error) {
				dialled.Add(1)
				return (&net.Dialer{}).DialContext(ctx, "tcp", secret.Addr())
			},
			OnConnect: func(context.Context, *redis.Conn) error {
				greeted.Add(1)
				return nil
			},
		}),
		"a unix socket": redis.NewClient(&redis.Options{Addr: socket, DB: 3}),
		"Sentinel":      redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "main", SentinelAddrs: redistest.Sentinels(t, primary)}),
		"a cluster":     redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{redistest.Cluster(t)[0].Addr()}}),
	}
	for name, own := range tests {
		t.Run(name, func(t *testing.T) {
			defer own.Close()
			works(t, ringmaster.Config{Redis: own})
			if used := own.PoolStats().TotalConns; used != 0 && name != "a cluster" {
				t.Errorf("%d connections of the client itself are used", used)
			}
		})
	}
	if dialled.Load() < 5 || greeted.Load() < 5 {
		t.Errorf("dialled %d times, greeted %d", dialled.Load(), greeted.Load())
	}
}

// works runs one job.
func works(t *testing.T, cfg ringmaster.Config) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	client, err := ringmaster.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	d, err := ringmaster.NewDispatcher(cfg, ringmaster.DispatcherConfig{})
	if err != nil {
		t.Fatal(err)
	}
	led := make(chan error, 1)
	go func() { led <- d.Run(ctx) }()
	w := newWorker(t, cfg, ringmaster.WorkerConfig{Queues: []string{"q"}})
	ringmaster.HandleResult(w, "double", func(_ context.Context, j ringmaster.Job[int]) (int, error) { return 2 * j.Payload, nil })
	run(ctx, t, w)
	var got int
	if _, err := client.Queue("q").Call(ctx, "double", 21, &got); err != nil || got != 42 {
		t.Errorf("got %d, %v", got, err)
	}
	if err := w.Stop(ctx); err != nil {
		t.Error(err)
	}
	stop()
	if err := <-led; err != nil {
		t.Errorf("dispatcher: %v", err)
	}
}

// TestOwnClientsThatCannotBeTakenOver are refused by all three parties before anything is connected.
func TestOwnClientsThatCannotBeTakenOver(t *testing.T) {
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": "127.0.0.1:1"}})
	defer ring.Close()
	told := redis.NewFailoverClusterClient(&redis.FailoverOptions{MasterName: "m", SentinelAddrs: []string{"127.0.0.1:1"}})
	defer told.Close()
	plain := redis.NewClient(&redis.Options{})
	defer plain.Close()
	tests := map[string]struct {
		cfg  ringmaster.Config
		says string
	}{
		"a ring of go-redis": {ringmaster.Config{Redis: ring}, "*redis.Ring is not supported"},
		"slots of its own":   {ringmaster.Config{Redis: told}, "told its slots"},
		"nil":                {ringmaster.Config{Redis: (*redis.Client)(nil)}, "nil *redis.Client"},
		"nil cluster":        {ringmaster.Config{Redis: (*redis.ClusterClient)(nil)}, "nil *redis.ClusterClient"},
		"a URL too":          {ringmaster.Config{Redis: plain, URL: "redis://127.0.0.1:1"}, "leave URL"},
		"TLS too":            {ringmaster.Config{Redis: plain, TLS: ringmaster.TLS{ServerName: "x"}}, "leave URL"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, client := ringmaster.NewClient(tc.cfg)
			_, worker := ringmaster.NewWorker(tc.cfg, ringmaster.WorkerConfig{Queues: []string{"q"}})
			_, dispatcher := ringmaster.NewDispatcher(tc.cfg, ringmaster.DispatcherConfig{})
			for who, err := range map[string]error{"client": client, "worker": worker, "dispatcher": dispatcher} {
				if !errors.Is(err, ringmaster.ErrInvalid) || !strings.Contains(err.Error(), tc.says) {
					t.Errorf("%s: %v", who, err)
				}
			}
		})
	}
}

// sealed is a provider of credentials that has none.
type sealed struct{ err error }

// Subscribe implements auth.StreamingCredentialsProvider.
func (s sealed) Subscribe(auth.CredentialsListener) (auth.Credentials, auth.UnsubscribeFunc, error) {
	return nil, nil, s.err
}

// TestAnOwnClientThatCannotConnect has sent nothing: the job is not in.
func TestAnOwnClientThatCannotConnect(t *testing.T) {
	broken, addr := errors.New("the vault is sealed"), redistest.Real(t).Addr()
	for name, o := range map[string]redis.Options{
		"credentials": {CredentialsProviderContext: func(context.Context) (string, string, error) { return "", "", broken }},
		"streaming":   {StreamingCredentialsProvider: sealed{broken}},
		"dialer":      {Dialer: func(context.Context, string, string) (net.Conn, error) { return nil, broken }},
		"proxy": {Dialer: func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "socks connect", Net: "tcp", Err: broken}
		}},
		"greeting": {OnConnect: func(context.Context, *redis.Conn) error { return broken }},
	} {
		t.Run(name, func(t *testing.T) {
			o.Addr = addr
			own := redis.NewClient(&o)
			defer own.Close()
			client, err := ringmaster.NewClient(ringmaster.Config{Redis: own})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			for _, once := range []ringmaster.Option{ringmaster.Key("k"), ringmaster.Once("1")} {
				_, err = client.Queue("q").Submit(t.Context(), "t", 1, once)
				if !errors.Is(err, ringmaster.ErrUnavailable) || errors.Is(err, ringmaster.ErrOutcomeUnknown) || !strings.Contains(err.Error(), "the vault is sealed") {
					t.Error(err)
				}
			}
		})
	}
}

func TestAClientTellsItsServer(t *testing.T) {
	own := redis.NewClient(&redis.Options{})
	defer own.Close()
	for want, cfg := range map[string]ringmaster.Config{
		"redis://127.0.0.1:6379":   {},
		"redis://u@127.0.0.1:63/2": {URL: "redis://u:secret@127.0.0.1:63/2"},
		"":                         {Redis: own},
	} {
		client, err := ringmaster.NewClient(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if got := client.URL(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	}
}
