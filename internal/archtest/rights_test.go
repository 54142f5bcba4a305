package archtest

import (
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"ringmaster"
	"ringmaster/internal/redistest"
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

// TestRightsAreEnough runs a dispatcher, workers that come and go, and producers as the
// documented users: the server refuses nothing.
func TestRightsAreEnough(t *testing.T) {
	server := redistest.Real(t)
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	admin := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer func() { _ = admin.Close() }()
	for name, rules := range rights(t) {
		must(t, admin.ACLSetUser(ctx, name, rules...).Err())
	}
	as := func(user string) string { return "redis://" + user + ":secret@" + server.Addr() }

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
	serve(func(ctx context.Context) error { return ringmaster.Dispatch(ctx, as("ringmaster"), nil) })
	for range 2 {
		w := &ringmaster.Worker{URL: as("ringmaster"), Queues: []string{"mails"}}
		ringmaster.HandleResult(w, "send", func(_ context.Context, j ringmaster.Job[int]) (int, error) { return j.Payload, nil })
		serve(w.Run)
	}
	p, err := ringmaster.NewClient(as("producer"))
	must(t, err)
	defer func() { _ = p.Close() }()
	_, err = p.Submit(ctx, "mails", "send", 1, ringmaster.Key("a"))
	must(t, err)
	_, err = p.Submit(ctx, "mails", "send", 1, ringmaster.Key("a"), ringmaster.Once("x"))
	must(t, err)
	c, err := ringmaster.NewClient(as("caller"))
	must(t, err)
	defer func() { _ = c.Close() }()
	_, err = c.Call(ctx, "mails", "send", 2, nil)
	must(t, err)
	if st, err := c.Call(ctx, "mails", "send", "not a number", nil); st.State != job.Dead {
		t.Errorf("a payload that does not decode: %v, %v", st.State, err)
	}
	lookAround(ctx, t, as("ringmaster"))
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
func lookAround(ctx context.Context, t *testing.T, url string) {
	t.Helper()
	s, err := streams.Open(streams.Options{URL: url})
	must(t, err)
	defer func() { _ = s.Close() }()
	_, err = s.QueueViews(ctx)
	must(t, err)
	_, err = s.RingView(ctx, "mails")
	must(t, err)
	_, err = s.RingHistory(ctx, "mails", 10)
	must(t, err)
	_, err = s.Key(ctx, "mails", "a")
	must(t, err)
	_, err = s.RequestResize(ctx, "mails", "ring")
	must(t, err)
	dead, err := s.DeadLetters(ctx, "mails", 10)
	must(t, err)
	if len(dead) != 1 {
		t.Fatalf("%d dead letters, want 1", len(dead))
	}
	must(t, s.RemoveDead(ctx, "mails", dead[0].ID))
}
