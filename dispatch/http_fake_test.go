package dispatch

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"ringmaster/job"
)

// fakeAPI remembers what it was asked and answers with what it was told.
type fakeAPI struct {
	mu     sync.Mutex
	jobs   []job.Job
	queue  string
	args   []string
	err    error
	errs   map[int]error // of the n-th job of all
	dup    bool
	queues []job.QueueView
	ringV  job.RingView
	dead   []job.DeadLetter
	status job.Status
}

func (f *fakeAPI) asked(args ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.args = args
}

func (f *fakeAPI) Enqueue(_ context.Context, queue string, jobs []job.Job) ([]job.Receipt, []error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queue = queue
	receipts, errs, failed := make([]job.Receipt, len(jobs)), make([]error, len(jobs)), false
	for i := range jobs {
		n := len(f.jobs)
		f.jobs = append(f.jobs, jobs[i])
		err := f.err
		if f.errs[n] != nil {
			err = f.errs[n]
		}
		if errs[i] = err; err != nil {
			failed = true
			continue
		}
		receipts[i] = job.Receipt{ID: "3-1-" + strconv.Itoa(n), Partition: 3, Duplicate: f.dup}
	}
	if !failed {
		errs = nil
	}
	return receipts, errs
}

func (f *fakeAPI) Job(_ context.Context, queue, id string) (job.Status, error) {
	f.asked("job", queue, id)
	return f.status, f.err
}

func (f *fakeAPI) WaitJob(_ context.Context, queue, id string, wait time.Duration) (job.Status, error) {
	f.asked("wait", queue, id, wait.String())
	return f.status, f.err
}

func (f *fakeAPI) QueueViews(context.Context) ([]job.QueueView, error) { return f.queues, f.err }

func (f *fakeAPI) QueueView(_ context.Context, queue string) (job.QueueView, error) {
	f.asked("queue", queue)
	return job.QueueView{Queue: queue}, f.err
}

func (f *fakeAPI) RingView(_ context.Context, queue string) (job.RingView, error) {
	f.asked("ring", queue)
	return f.ringV, f.err
}

func (f *fakeAPI) Key(_ context.Context, queue, key string) (job.KeyView, error) {
	f.asked("key", queue, key)
	return job.KeyView{Queue: queue, Key: key}, f.err
}

func (f *fakeAPI) DeadLetters(_ context.Context, queue string, limit int) ([]job.DeadLetter, error) {
	f.asked("dead", queue, strconv.Itoa(limit))
	return f.dead, f.err
}

func (f *fakeAPI) RequeueDead(_ context.Context, queue, id string) (job.Receipt, error) {
	f.asked("requeue", queue, id)
	if strings.HasPrefix(id, "9-") {
		return job.Receipt{}, job.NotFound("no dead letter %s", id)
	}
	return job.Receipt{ID: "0-9-9"}, f.err
}

func (f *fakeAPI) Workers(_ context.Context, queue string) ([]job.WorkerView, error) {
	f.asked("workers", queue)
	return nil, f.err
}

func (f *fakeAPI) Drain(_ context.Context, worker string) ([]string, error) {
	f.asked("drain", worker)
	return []string{worker + ".1"}, f.err
}

func (f *fakeAPI) RequestResize(_ context.Context, queue, mode string) (uint64, error) {
	f.asked("resize", queue, mode)
	return 12, f.err
}

func (f *fakeAPI) Ready(context.Context) error { return f.err }

// request makes a call as a client on the same machine would; head is name, value...
func request(method, target, body string, head ...string) *http.Request {
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req := httptest.NewRequest(method, "/", r)
	path, query, _ := strings.Cut(target, "?")
	req.URL.RawQuery = query
	req.URL.Path, req.URL.RawPath = unescape(path), path
	req.Host = "127.0.0.1:7070"
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(head); i += 2 {
		if req.Header.Get(head[i]) != "" && head[i] != "Content-Type" {
			req.Header.Add(head[i], head[i+1])
		} else {
			req.Header.Set(head[i], head[i+1])
		}
	}
	return req
}

func answer(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// wantProblem checks the shape that every error has.
func wantProblem(t *testing.T, w *httptest.ResponseRecorder, status int, kind string) problem {
	t.Helper()
	var p problem
	if w.Code != status || w.Header().Get("Content-Type") != "application/problem+json" {
		t.Fatalf("want %d %s, got %d %s: %s", status, kind, w.Code, w.Header().Get("Content-Type"), w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Fatal(err)
	}
	if p.Type != kind || p.Status != status || p.Title == "" || p.Detail == "" {
		t.Fatalf("want a whole problem of type %s, got %+v", kind, p)
	}
	return p
}
