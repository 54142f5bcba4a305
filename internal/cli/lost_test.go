package cli

import (
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"ringmaster/internal/redistest"
)

// A server is killed and comes back with an older snapshot. Of the job that it lost ringctl and HTTP say
// that it is unknown, as the documentation has it; never that it has completed.
func TestALostJobIsToldAsUnknown(t *testing.T) {
	server := redistest.Real(t)
	ctx, stop := stopBy(t)
	log, workerLog := newSeen(), newSeen()
	dispatcher := start(ctx, Dispatcher, io.Discard, log, Env{}, "--redis", server.URL(), "--listen", "127.0.0.1:0")
	address := regexp.MustCompile(`listening addr=(\S+)`).FindStringSubmatch(log.await(t, "listening addr="))
	if address == nil {
		t.Fatal("no address")
	}
	worker := start(ctx, Worker, io.Discard, workerLog, Env{}, "--redis", server.URL(), "--queue", "q", "--builtin", "--name", "w1")
	workerLog.await(t, "msg=ready")
	ringctl := func(args ...string) outcome { return call(t, Ringctl, "", append(args, "--redis", server.URL())...) }
	run := func() string { // a job that has completed, all of one partition
		got := ringctl("submit", "q", "--type", "echo", "--key", "k", "--wait", "-o", "json")
		id := regexp.MustCompile(`"id":"([^"]+)"`).FindStringSubmatch(got.stdout)
		if got.code != exitDone || id == nil {
			t.Fatalf("submit: %+v", got)
		}
		return id[1]
	}
	get := func(id, query string) (int, string) {
		resp, err := http.Get("http://" + address[1] + "/v1/queues/q/jobs/" + id + query)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	kept := run()
	raw := redis.NewClient(&redis.Options{Addr: server.Addr()})
	if err := raw.Save(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	_ = raw.Close()
	lost := run()
	server.Kill()
	server.Restart()
	later := run()
	for _, args := range [][]string{{"job", "get", "q", lost}, {"job", "wait", "q", lost}, {"job", "wait", "q", lost, "--timeout", "1s"}} {
		if got := ringctl(args...); got.code != exitNotFound || !strings.Contains(got.stdout, "unknown") || strings.Contains(got.stdout, "completed") {
			t.Errorf("%v: %+v", args, got)
		}
	}
	for _, query := range []string{"", "?wait=1s"} {
		if code, body := get(lost, query); code != http.StatusNotFound || !strings.Contains(body, "unknown-job") {
			t.Errorf("HTTP %q: %d %s", query, code, body)
		}
	}
	for _, id := range []string{kept, later} {
		if got := ringctl("job", "wait", "q", id); got.code != exitDone {
			t.Errorf("a job that is there: %+v", got)
		}
		if code, body := get(id, ""); code != http.StatusOK || !strings.Contains(body, `"completed"`) {
			t.Errorf("a job that is there: HTTP %d %s", code, body)
		}
	}
	stop(os.Interrupt)
	<-dispatcher
	<-worker
}
