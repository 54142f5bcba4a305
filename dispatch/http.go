package dispatch

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"ringmaster/job"
)

// API is what the HTTP handler asks for. Its errors are those of package job; every
// method is called concurrently and ends with its context.
type API interface {
	// Enqueue adds jobs to a queue, which it creates with the default counts if there is
	// none. The errors are parallel to the jobs; a nil slice means that all went in.
	Enqueue(ctx context.Context, queue string, jobs []job.Job) ([]job.Receipt, []error)
	Job(ctx context.Context, queue, id string) (job.Status, error)
	// WaitJob answers with the present state when wait is over.
	WaitJob(ctx context.Context, queue, id string, wait time.Duration) (job.Status, error)
	QueueViews(ctx context.Context) ([]job.QueueView, error)
	QueueView(ctx context.Context, queue string) (job.QueueView, error)
	RingView(ctx context.Context, queue string) (job.RingView, error)
	Key(ctx context.Context, queue, key string) (job.KeyView, error)
	DeadLetters(ctx context.Context, queue string, limit int) ([]job.DeadLetter, error)
	RequeueDead(ctx context.Context, queue, id string) (job.Receipt, error)
	// Workers lists the members of one queue, or of all ("").
	Workers(ctx context.Context, queue string) ([]job.WorkerView, error)
	// Drain asks a worker, by name or incarnation, to leave and tells whom it asked.
	Drain(ctx context.Context, worker string) ([]string, error)
	// RequestResize returns the ring epoch of the plan that answers the request.
	RequestResize(ctx context.Context, queue, mode string) (uint64, error)
	// Ready returns nil when requests can be served.
	Ready(ctx context.Context) error
}

// HTTPOptions say how the API is served. The zero value of a field is its default.
type HTTPOptions struct {
	// Listen is the host, or host:port, that the server listens on. Requests to a loopback
	// listener must name it, or localhost, in their Host header, so that no web page can
	// reach it under a name of its own. Default: loopback.
	Listen string
	// Token, if not empty, must come as "Authorization: Bearer" with every request but
	// those of /livez and /readyz.
	Token string
	// Timeout bounds each request to the API that does not wait on purpose. Default 10 s.
	Timeout time.Duration
	// Log gets what clients are not told. Default: nothing is logged.
	Log *slog.Logger
}

// NewHandler serves the HTTP API and the page. It is safe for concurrent use and starts
// no goroutine.
func NewHandler(api API, o HTTPOptions) http.Handler {
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	h := &handler{api: api, o: o}
	mux := http.NewServeMux()
	byPath := map[string]methods{}
	for _, r := range h.routes() {
		if byPath[r.path] == nil {
			byPath[r.path] = methods{}
		}
		byPath[r.path][r.method] = r
	}
	for path, m := range byPath {
		pattern := path
		if path == "/" {
			pattern = "/{$}"
		}
		mux.Handle(pattern, h.serve(m))
	}
	mux.Handle("/", http.HandlerFunc(notFound))
	return guard(o, mux)
}

// NewServer bounds what a client may cost: 5 s for its headers, 60 s for the whole
// request, 120 s between requests, 64 KiB of headers. Answers have no time limit, since
// a client may wait for a job. The caller listens, serves and shuts down.
func NewServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
}

type handler struct {
	api API
	o   HTTPOptions
}

// route is one method of one path, and all that is said of it: the mux, and the test that holds
// http_openapi.json to the code, come from here. query names the parameters it knows.
type route struct {
	method, path string
	query        []string
	handle       func(http.ResponseWriter, *http.Request) error
	takes        any     // the body, of its Go type; nil: none
	gives        answers // nil: no JSON of ours
}

// answers are bodies, of their Go types, by status, and the content type where it is not JSON.
type answers map[string]any

func (h *handler) routes() []route {
	return []route{
		{"POST", "/v1/queues/{queue}/jobs", nil, h.enqueue, job.Written{},
			answers{"201": job.Receipt{}, "200": job.Receipt{}, "200 " + typeNDJSON: lineAnswer{}}},
		{"GET", "/v1/queues/{queue}/jobs/{id}", []string{"wait"}, h.job, nil, answers{"200": job.Status{}}},
		{"GET", "/v1/queues", nil, h.queues, nil, answers{"200": []job.QueueView{}}},
		{"GET", "/v1/queues/{queue}", nil, h.queue, nil, answers{"200": job.QueueView{}}},
		{"GET", "/v1/queues/{queue}/ring", nil, h.ring, nil, answers{"200": job.RingView{}}},
		{"GET", "/v1/queues/{queue}/dead", []string{"limit"}, h.dead, nil, answers{"200": []job.DeadLetter{}}},
		{"GET", "/v1/queues/{queue}/keys/{key}", nil, h.key, nil, answers{"200": job.KeyView{}}},
		{"GET", "/v1/workers", []string{"queue"}, h.workers, nil, answers{"200": []job.WorkerView{}}},
		{"POST", "/v1/queues/{queue}/resize", nil, h.resize, resizeOrder{}, answers{"202": planned{}}},
		{"POST", "/v1/queues/{queue}/dead/requeue", nil, h.requeue, requeueOrder{}, answers{"200": []requeued{}}},
		{"POST", "/v1/workers/{worker}/drain", nil, h.drain, nil, answers{"202": draining{}}},
		{"GET", "/livez", nil, h.live, nil, answers{"200": health{}}},
		{"GET", "/readyz", nil, h.ready, nil, answers{"200": health{}}},
		{"GET", "/openapi.json", nil, h.openapi, nil, nil},
		{"GET", "/", []string{"queue"}, h.page, nil, nil},
	}
}

// methods are the routes of one path.
type methods map[string]route

func (m methods) allow() string {
	var names []string
	for name := range m {
		names = append(names, name)
		if name == http.MethodGet {
			names = append(names, http.MethodHead)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

func (h *handler) serve(m methods) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		method := r.Method
		if method == http.MethodHead {
			method = http.MethodGet
		}
		route, ok := m[method]
		if !ok {
			w.Header().Set("Allow", m.allow())
			writeProblem(w, problem{Type: "method-not-allowed", Status: http.StatusMethodNotAllowed,
				Detail: "this path knows " + m.allow() + ", not " + r.Method})
			return
		}
		err := checkRequest(r, route.query)
		if err == nil {
			err = route.handle(w, r)
		}
		if err != nil {
			h.fail(w, r, err)
		}
	})
}

// checkRequest refuses what every route refuses: names that cannot be, and parameters
// that would be ignored.
func checkRequest(r *http.Request, known []string) error {
	if q := r.PathValue("queue"); q != "" {
		if err := job.CheckName("queue", q); err != nil {
			return err
		}
	}
	values, err := parseQuery(r)
	if err != nil {
		return err
	}
	for name, v := range values {
		if !slices.Contains(known, name) {
			return job.Invalid("unknown query parameter %q: %s", name, wants(known))
		}
		if len(v) > 1 {
			return job.Invalid("query parameter %q is given %d times", name, len(v))
		}
	}
	return nil
}

func wants(known []string) string {
	if len(known) == 0 {
		return "this path takes none"
	}
	return "want " + strings.Join(known, ", ")
}

// bounded is the context of a call that does not wait on purpose.
func (h *handler) bounded(r *http.Request, jobs ...job.Job) (context.Context, context.CancelFunc) {
	return context.WithTimeout(r.Context(), h.o.Timeout+job.OnItsWay(job.Bytes(jobs)))
}
