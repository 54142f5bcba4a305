package archtest

import (
	"context"
	"encoding/json"
	"io/fs"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"ringmaster"
	"ringmaster/configs"
	"ringmaster/internal/redistest"
	"ringmaster/internal/service"
	"ringmaster/job"
	"ringmaster/streams"
)

// rights are the rules of the users in docs/operations.md, by name.
func rights(t *testing.T) map[string][]string {
	t.Helper()
	users := map[string][]string{}
	for _, m := range regexp.MustCompile(`(?m)^user (\S+) (.+)$`).FindAllStringSubmatch(read(t, "docs/operations.md"), -1) {
		users[m[1]] = strings.Fields(strings.ReplaceAll(m[2], ">PASSWORD", ">secret"))
	}
	if len(users["ringmaster"]) == 0 || len(users["producer"]) == 0 {
		t.Fatal("docs/operations.md has no users")
	}
	return users
}

// TestRightsCoverTheScripts: whatever a script calls, the documented user may call.
func TestRightsCoverTheScripts(t *testing.T) {
	have := " " + strings.Join(rights(t)["ringmaster"], " ") + " "
	files, err := fs.Glob(os.DirFS(root), "streams/lua/*.lua")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	call := regexp.MustCompile(`(?:call|pcall|try)\('([A-Z]+)'(?:, '([A-Z]+)')?`)
	for _, f := range files {
		for _, m := range call.FindAllStringSubmatch(read(t, f), -1) {
			name := strings.ToLower(m[1])
			if name == "xgroup" || name == "xinfo" || name == "pubsub" {
				name += "|" + strings.ToLower(m[2])
			}
			if !strings.Contains(have, " +"+name+" ") {
				t.Errorf("%s calls %s, which docs/operations.md does not allow", f, name)
			}
		}
	}
}

// clusterRights are what each of the users needs in addition where the server is part of a cluster.
func clusterRights(t *testing.T) []string {
	t.Helper()
	m := regexp.MustCompile("Users in a cluster also need `([^`]+)`").FindStringSubmatch(read(t, "docs/operations.md"))
	if m == nil {
		t.Fatal("docs/operations.md names no rights for clusters")
	}
	return strings.Fields(m[1])
}

// TestRightsAreEnough runs a dispatcher, workers that come and go, and producers as the
// documented users: the server refuses nothing.
func TestRightsAreEnough(t *testing.T) {
	t.Run("alone", func(t *testing.T) { enough(t, "standalone", nil, redistest.Real(t)) })
	t.Run("cluster", func(t *testing.T) {
		enough(t, "cluster", clusterRights(t), redistest.Primaries(t, 2, "rm:{mails/0}:", "rm:{mails/1}:")...)
	})
}

func enough(t *testing.T, mode string, more []string, servers ...*redistest.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	var admins []*redis.Client
	for _, server := range servers {
		admin := redis.NewClient(&redis.Options{Addr: server.Addr()})
		defer func() { _ = admin.Close() }()
		for name, rules := range rights(t) {
			must(t, admin.ACLSetUser(ctx, name, append(rules, more...)...).Err())
		}
		admins = append(admins, admin)
	}
	as := func(user string) string { return "redis://" + user + ":secret@" + servers[0].Addr() }

	running, stop := context.WithCancel(ctx)
	var services sync.WaitGroup
	defer services.Wait()
	defer stop()
	serve := func(run func(context.Context) error) {
		services.Go(func() {
			if err := run(running); err != nil {
				t.Error(err)
			}
		})
	}
	s, err := streams.Open(streams.Options{URL: as("ringmaster"), Mode: mode})
	must(t, err)
	defer func() { _ = s.Close() }()
	_, err = s.CreateQueue(ctx, streams.Queue{Name: "mails", Shards: len(servers)})
	must(t, err)
	serve(func(ctx context.Context) error {
		cfg := configs.DefaultDispatcher()
		cfg.Redis, cfg.RedisMode = as("ringmaster"), mode
		return service.Lead(ctx, cfg, service.Options{Log: slog.New(slog.DiscardHandler)})
	})
	for range 2 {
		w, err := ringmaster.NewWorker(ringmaster.Config{URL: as("ringmaster"), Mode: mode}, ringmaster.WorkerConfig{Queues: []string{"mails"}})
		must(t, err)
		ringmaster.HandleResult(w, "send", func(_ context.Context, j ringmaster.Job[int]) (int, error) { return j.Payload, nil })
		serve(w.Run)
	}
	p, err := ringmaster.NewClient(ringmaster.Config{URL: as("producer"), Mode: mode})
	must(t, err)
	defer func() { _ = p.Close() }()
	_, err = p.Queue("mails").Submit(ctx, "send", 1, ringmaster.Key("a"))
	must(t, err)
	_, err = p.Queue("mails").Submit(ctx, "send", 1, ringmaster.Key("a"), ringmaster.Once("x"))
	must(t, err)
	c, err := ringmaster.NewClient(ringmaster.Config{URL: as("caller"), Mode: mode})
	must(t, err)
	defer func() { _ = c.Close() }()
	for range 2 * len(servers) { // one partition after the other
		_, err = c.Queue("mails").Call(ctx, "send", 2, nil)
		must(t, err)
	}
	if st, err := c.Queue("mails").Call(ctx, "send", "not a number", nil); st.State != job.Dead {
		t.Errorf("a payload that does not decode: %v, %v", st.State, err)
	}
	lookAround(ctx, t, s)
	for _, admin := range admins {
		refusedNothing(ctx, t, admin)
	}
}

func refusedNothing(ctx context.Context, t *testing.T, admin *redis.Client) {
	t.Helper()
	for _, command := range [][]any{{"CLIENT", "KILL", "ID", "1"}, {"CLIENT", "ID"}, {"CONFIG", "GET", "appendonly"}} {
		answer, err := admin.Do(ctx, append([]any{"ACL", "DRYRUN", "ringmaster"}, command...)...).Text()
		if err != nil || answer != "OK" {
			t.Errorf("%v as ringmaster: %s, %v", command, answer, err)
		}
	}
	refused, err := admin.ACLLog(ctx, 10).Result()
	must(t, err)
	for _, r := range refused {
		raw, _ := json.Marshal(r)
		t.Errorf("refused: %s", raw)
	}
}

// lookAround does what people do with ringctl.
func lookAround(ctx context.Context, t *testing.T, s *streams.Store) {
	t.Helper()
	_, err := s.Inspect().QueueViews(ctx)
	must(t, err)
	_, err = s.Inspect().RingView(ctx, "mails")
	must(t, err)
	_, err = s.Inspect().RingHistory(ctx, "mails", 10)
	must(t, err)
	_, err = s.Inspect().Key(ctx, "mails", "a")
	must(t, err)
	_, err = s.RequestResize(ctx, "mails", "ring")
	must(t, err)
	dead, err := s.Inspect().DeadLetters(ctx, "mails", 10)
	must(t, err)
	if len(dead) != 1 {
		t.Fatalf("%d dead letters, want 1", len(dead))
	}
	must(t, s.RemoveDead(ctx, "mails", dead[0].ID))
}
