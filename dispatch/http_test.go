package dispatch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"ringmaster/job"
)

func unescape(p string) string {
	s, err := url.PathUnescape(p)
	if err != nil {
		return p
	}
	return s
}

func TestEveryRouteIsDescribed(t *testing.T) {
	var doc struct {
		Paths map[string]map[string]struct {
			Parameters []struct{ Name, In string }
		}
	}
	w := answer(NewHandler(&fakeAPI{}, HTTPOptions{}), request("GET", "/openapi.json", ""))
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	described := map[string]bool{}
	for path, ops := range doc.Paths {
		for method := range ops {
			described[strings.ToUpper(method)+" "+path] = true
		}
	}
	for _, r := range (&handler{}).routes() {
		name := r.method + " " + r.path
		if !described[name] {
			t.Errorf("%s is not described", name)
		}
		delete(described, name)
		var query []string
		for _, p := range doc.Paths[r.path][strings.ToLower(r.method)].Parameters {
			if p.In == "query" {
				query = append(query, p.Name)
			}
			if p.In == "path" && !strings.Contains(r.path, "{"+p.Name+"}") {
				t.Errorf("%s: no %s in the path", name, p.Name)
			}
		}
		if !slices.Equal(query, r.query) {
			t.Errorf("%s: described with parameters %v, takes %v", name, query, r.query)
		}
	}
	for name := range described {
		t.Errorf("%s is described, and is not there", name)
	}
}

func TestReadsAndCommands(t *testing.T) {
	for _, c := range []struct {
		method, target, body string
		status               int
		asked, want          string
	}{
		{"GET", "/v1/queues", "", 200, "", "[]"},
		{"GET", "/v1/queues/q", "", 200, "queue q", `"queue":"q"`},
		{"GET", "/v1/queues/q/ring", "", 200, "ring q", `"partitions"`},
		{"HEAD", "/v1/queues/q/ring", "", 200, "ring q", ""},
		{"GET", "/v1/queues/q/dead", "", 200, "dead q 100", "[]"},
		{"GET", "/v1/queues/q/dead?limit=7", "", 200, "dead q 7", "[]"},
		{"GET", "/v1/workers", "", 200, "workers ", "[]"},
		{"GET", "/v1/workers?queue=q", "", 200, "workers q", "[]"},
		{"GET", "/v1/queues/q/keys/a%2Fb%20c", "", 200, "key q a/b c", `"key":"a/b c"`},
		{"GET", "/v1/queues/q/keys/%2e%2e", "", 200, "key q ..", `"key":".."`},
		{"GET", "/v1/queues/q/keys/%7B%7D%3A%2A%00%1b", "", 200, "key q {}:*\x00\x1b", `"key":`},
		{"GET", "/v1/queues/q/jobs/3-1-0", "", 200, "job q 3-1-0", `"state"`},
		{"GET", "/v1/queues/q/jobs/3-1-0?wait=250ms", "", 200, "wait q 3-1-0 250ms", `"state"`},
		{"GET", "/v1/queues/q/jobs/3-1-0?wait=0s", "", 200, "job q 3-1-0", `"state"`},
		{"GET", "/v1/queues/q/jobs/3-1-0?wait=10h", "", 200, "wait q 3-1-0 1m0s", `"state"`},
		{"POST", "/v1/queues/q/resize", "", 202, "resize q ", `{"epoch":12}`},
		{"POST", "/v1/queues/q/resize", `{"mode":"ring"}`, 202, "resize q ring", `{"epoch":12}`},
		{"POST", "/v1/queues/q/dead/requeue", `{"ids":["0-1-1"]}`, 200, "requeue q 0-1-1", `[{"id":"0-1-1","new_id":"0-9-9","partition":0,"duplicate":false}]`},
		{"POST", "/v1/queues/q/dead/requeue", `{"ids":["0-1-1","9-1-1"]}`, 200, "requeue q 9-1-1", `"error":"no dead letter 9-1-1","type":"not-found"`},
		{"POST", "/v1/workers/w.1/drain", "", 202, "drain w.1", `{"draining":["w.1.1"]}`},
		{"POST", "/v1/workers/w/drain", "{}", 202, "drain w", `{"draining"`},
		{"GET", "/livez", "", 200, "", `{"status":"ok"}`},
		{"GET", "/readyz", "", 200, "", `{"status":"ready"}`},
	} {
		t.Run(c.method+" "+c.target, func(t *testing.T) {
			api := &fakeAPI{}
			w := answer(NewHandler(api, HTTPOptions{}), request(c.method, c.target, c.body))
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) || w.Header().Get("Content-Type") != "application/json" {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			if got := strings.Join(api.args, " "); got != c.asked {
				t.Errorf("asked %q, want %q", got, c.asked)
			}
		})
	}
}

func TestBadRequests(t *testing.T) {
	long := strings.Repeat("x", 8000)
	for _, c := range []struct {
		method, target, body string
		head                 []string
		status               int
		kind                 string
	}{
		{"GET", "/nothing", "", nil, 404, "not-found"},
		{"GET", "//v1/queues", "", nil, 404, "not-found"},
		{"POST", "/v1//queues/q/jobs", "{}", nil, 404, "not-found"},
		{"GET", "/v1/queues/", "", nil, 404, "not-found"},
		{"GET", "/v1/../v1/queues", "", nil, 404, "not-found"},
		{"GET", "/v1/queues/%2e%2e", "", nil, 400, "invalid"},
		{"GET", "/v1/queues/%00", "", nil, 400, "invalid"},
		{"GET", "/v1/queues/a%2Fb", "", nil, 400, "invalid"},
		{"GET", "/v1/queues/" + long, "", nil, 400, "invalid"},
		{"GET", "/v1/queues/q/keys/" + long, "", nil, 400, "invalid"},
		{"GET", "/v1/queues/q/keys/%ff", "", nil, 400, "invalid"},
		{"GET", "/v1/events", "", nil, 404, "not-found"},
		{"GET", "/metrics", "", nil, 404, "not-found"},
		{"POST", "/v1/queues/q/pause", "", nil, 404, "not-found"},
		{"POST", "/v1/queues/q/jobs/3-1-0/cancel", "", nil, 404, "not-found"},
		{"GET", "/v1/queues/q/jobs/abc", "", nil, 400, "invalid"},
		{"GET", "/v1/queues/q/jobs/1-1-1-1", "", nil, 400, "invalid"},
		{"GET", "/v1/queues/q/jobs/0-18446744073709551616-0", "", nil, 400, "invalid"},
		{"GET", "/v1/queues/q/jobs/3-1-0?wait=soon", "", nil, 400, "invalid"},
		{"GET", "/v1/queues/q/jobs/3-1-0?wait=-1s", "", nil, 400, "invalid"},
		{"GET", "/v1/queues/q/jobs/3-1-0?wait=5", "", nil, 400, "invalid"},
		{"GET", "/v1/queues/q/jobs/3-1-0?wait=", "", nil, 400, "invalid"},
		{"GET", "/v1/queues/q/jobs/3-1-0?wait=1s&wait=2s", "", nil, 400, "invalid"},
		{"GET", "/v1/queues/q/jobs/3-1-0?wiat=1s", "", nil, 400, "invalid"},
		{"GET", "/v1/queues/q/jobs/3-1-0?%zz", "", nil, 400, "invalid"},
		{"GET", "/v1/queues/q/dead?limit=-1", "", nil, 400, "invalid"},
		{"GET", "/v1/queues/q/dead?limit=0", "", nil, 400, "invalid"},
		{"GET", "/v1/queues/q/dead?limit=1000000000", "", nil, 400, "invalid"},
		{"GET", "/v1/workers?queue=", "", nil, 400, "invalid"},
		{"POST", "/v1/queues/q/resize", `{"mode":"sideways"}`, nil, 400, "invalid"},
		{"POST", "/v1/queues/q/resize", `{"mode":1}`, nil, 400, "invalid"},
		{"POST", "/v1/queues/q/resize", `{"modes":"key"}`, nil, 400, "invalid"},
		{"POST", "/v1/queues/q/resize", `{}`, []string{"Content-Type", "text/plain"}, 415, "unsupported-media-type"},
		{"POST", "/v1/queues/q/dead/requeue", ``, nil, 400, "invalid"},
		{"POST", "/v1/queues/q/dead/requeue", `{"ids":[]}`, nil, 400, "invalid"},
		{"POST", "/v1/queues/q/dead/requeue", `{"ids":"0-1-1"}`, nil, 400, "invalid"},
		{"POST", "/v1/queues/q/dead/requeue", `{"ids":["x"]}`, nil, 400, "invalid"},
		{"POST", "/v1/queues/q/dead/requeue", `{"ids":["9-1-1"]}`, nil, 404, "not-found"},
		{"POST", "/v1/workers/w/drain", `{"now":true}`, nil, 400, "invalid"},
	} {
		t.Run(c.method+" "+c.target[:min(len(c.target), 60)]+" "+c.body, func(t *testing.T) {
			api := &fakeAPI{}
			r := request(c.method, c.target, c.body, c.head...)
			wantProblem(t, answer(NewHandler(api, HTTPOptions{}), r), c.status, c.kind)
			if len(api.args) > 0 && c.status != 404 {
				t.Errorf("the API was asked all the same: %v", api.args)
			}
		})
	}
}

func TestMethodsThatAPathDoesNotKnow(t *testing.T) {
	h := NewHandler(&fakeAPI{}, HTTPOptions{})
	for target, allow := range map[string]string{"/v1/queues": "GET, HEAD", "/v1/queues/q/jobs": "POST", "/v1/queues/q/resize": "POST", "/": "GET, HEAD", "/livez": "GET, HEAD"} {
		for _, method := range []string{"PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"} {
			w := answer(h, request(method, target, ""))
			wantProblem(t, w, http.StatusMethodNotAllowed, "method-not-allowed")
			if got := w.Header().Get("Allow"); got != allow {
				t.Errorf("%s %s: Allow %q, want %q", method, target, got, allow)
			}
		}
	}
}

func TestErrorsHaveTheirStatus(t *testing.T) {
	for _, c := range []struct {
		err          error
		write, read  int
		kind, readAs string
	}{
		{job.Invalid("x"), 400, 400, "invalid", "invalid"},
		{job.TooLarge("x"), 413, 413, "too-large", "too-large"},
		{job.NotFound("x"), 404, 404, "not-found", "not-found"},
		{job.Conflict("x"), 409, 409, "conflict", "conflict"},
		{fmt.Errorf("enqueue: %w", job.ErrUnavailable), 503, 503, "unavailable", "unavailable"},
		{fmt.Errorf("enqueue: %w", job.ErrFull), 507, 507, "full", "full"},
		{fmt.Errorf("enqueue: %w: %w", job.ErrOutcomeUnknown, context.DeadlineExceeded), 504, 503, "unknown-outcome", "unavailable"},
		{context.DeadlineExceeded, 503, 503, "unavailable", "unavailable"},
		{errors.New("secret"), 500, 500, "internal", "internal"},
	} {
		h := NewHandler(&fakeAPI{err: c.err}, HTTPOptions{})
		w := answer(h, request("POST", "/v1/queues/q/jobs", `{"type":"a"}`))
		p := wantProblem(t, w, c.write, c.kind)
		if (c.write == 503) != (w.Header().Get("Retry-After") != "") {
			t.Errorf("%v: Retry-After %q", c.err, w.Header().Get("Retry-After"))
		}
		if strings.Contains(p.Detail, "secret") || (c.kind == "unknown-outcome") != strings.Contains(p.Detail, "idempotency key") {
			t.Errorf("%v: %s", c.err, p.Detail)
		}
		p = wantProblem(t, answer(h, request("POST", "/v1/queues/q/resize", "{}", "Content-Type", "application/json")), c.write, c.kind)
		if strings.Contains(p.Detail, "idempotency key") {
			t.Errorf("a resize takes no idempotency key: %s", p.Detail)
		}
		wantProblem(t, answer(h, request("GET", "/v1/queues/q", "")), c.read, c.readAs)
		wantProblem(t, answer(h, request("GET", "/readyz", "")), 503, "unavailable")
		if w := answer(h, request("GET", "/livez", "")); w.Code != 200 {
			t.Errorf("livez: %d", w.Code)
		}
	}
}

func TestServerHasLimits(t *testing.T) {
	s := NewServer(http.NotFoundHandler())
	if s.ReadHeaderTimeout != 5*time.Second || s.ReadTimeout != time.Minute || s.IdleTimeout != 2*time.Minute || s.MaxHeaderBytes != 64<<10 || s.WriteTimeout != 0 {
		t.Errorf("%+v", s)
	}
}
