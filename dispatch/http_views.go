package dispatch

import (
	"context"
	_ "embed"
	"net/http"
	"strconv"
	"time"

	"ringmaster/job"
)

// view answers a GET with what read returns.
func view[T any](h *handler, w http.ResponseWriter, r *http.Request, read func(context.Context) (T, error)) error {
	ctx, cancel := h.bounded(r)
	defer cancel()
	v, err := read(ctx)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, v)
}

// listed makes an empty list [] instead of null.
func listed[T any](l []T, err error) ([]T, error) {
	if l == nil {
		l = []T{}
	}
	return l, err
}

func (h *handler) queues(w http.ResponseWriter, r *http.Request) error {
	return view(h, w, r, func(ctx context.Context) ([]job.QueueView, error) { return listed(h.api.QueueViews(ctx)) })
}

func (h *handler) queue(w http.ResponseWriter, r *http.Request) error {
	return view(h, w, r, func(ctx context.Context) (job.QueueView, error) { return h.api.QueueView(ctx, r.PathValue("queue")) })
}

func (h *handler) ring(w http.ResponseWriter, r *http.Request) error {
	return view(h, w, r, func(ctx context.Context) (job.RingView, error) { return h.api.RingView(ctx, r.PathValue("queue")) })
}

func (h *handler) key(w http.ResponseWriter, r *http.Request) error {
	if err := job.CheckKey(r.PathValue("key")); err != nil {
		return err
	}
	return view(h, w, r, func(ctx context.Context) (job.KeyView, error) {
		return h.api.Key(ctx, r.PathValue("queue"), r.PathValue("key"))
	})
}

func (h *handler) workers(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	queue := q.Get("queue")
	if q.Has("queue") {
		if err := job.CheckName("queue", queue); err != nil {
			return err
		}
	}
	return view(h, w, r, func(ctx context.Context) ([]job.WorkerView, error) { return listed(h.api.Workers(ctx, queue)) })
}

// Bounds of a list of dead letters.
const (
	defaultDead = 100
	maxDead     = 1000
)

func (h *handler) dead(w http.ResponseWriter, r *http.Request) error {
	limit := defaultDead
	if q := r.URL.Query(); q.Has("limit") {
		n, err := strconv.Atoi(q.Get("limit"))
		if err != nil || n < 1 || n > maxDead {
			return job.Invalid("limit=%s: want a number from 1 to %d", clip(q.Get("limit")), maxDead)
		}
		limit = n
	}
	return view(h, w, r, func(ctx context.Context) ([]job.DeadLetter, error) {
		return listed(h.api.DeadLetters(ctx, r.PathValue("queue"), limit))
	})
}

// command reads the small object of a command into the struct that into points to, as
// job.DecodeObject does. No body at all is an empty object.
func command(w http.ResponseWriter, r *http.Request, into any) error {
	if err := uncoded(r); err != nil {
		return err
	}
	data, err := readAll(http.MaxBytesReader(w, r.Body, 256<<10))
	if err != nil || len(data) == 0 {
		return err
	}
	if _, err := contentType(r, typeJSON); err != nil {
		return err
	}
	return job.DecodeObject(data, into)
}

// resizeOrder is the body of a resize.
type resizeOrder struct {
	Mode *string `json:"mode,omitempty"`
}

// planned is the answer to a resize.
type planned struct {
	Epoch uint64 `json:"epoch"` // of the ring, with the plan
}

func (h *handler) resize(w http.ResponseWriter, r *http.Request) error {
	var order resizeOrder
	if err := command(w, r, &order); err != nil {
		return err
	}
	mode := ""
	if order.Mode != nil {
		if mode = *order.Mode; mode != "key" && mode != "partition" && mode != "ring" {
			return job.Invalid("mode %q: want key, partition or ring", clip(mode))
		}
	}
	ctx, cancel := h.bounded(r)
	defer cancel()
	epoch, err := h.api.RequestResize(ctx, r.PathValue("queue"), mode)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusAccepted, planned{epoch})
}

// maxRequeue bounds the ids of one request.
const maxRequeue = 1000

// requeued is the answer for one dead letter.
type requeued struct {
	ID        string `json:"id"`
	NewID     string `json:"new_id,omitempty"`
	Partition int    `json:"partition"`
	Duplicate bool   `json:"duplicate"`
	Error     string `json:"error,omitempty"`
	Type      string `json:"type,omitempty"` // of the error
}

// requeueOrder is the body of a requeue.
type requeueOrder struct {
	IDs []string `json:"ids"`
}

// requeue puts dead letters back, each by itself. The error of a single one is the
// request's; of several, each has its own in the list.
func (h *handler) requeue(w http.ResponseWriter, r *http.Request) error {
	var order requeueOrder
	if err := command(w, r, &order); err != nil {
		return err
	}
	ids := order.IDs
	if len(ids) < 1 || len(ids) > maxRequeue {
		return job.Invalid("field \"ids\": want 1 to %d job ids, like {\"ids\": [\"4-175-0\"]}", maxRequeue)
	}
	for _, id := range ids {
		if _, err := job.ParseID(id); err != nil {
			return err
		}
	}
	ctx, cancel := h.bounded(r)
	defer cancel()
	out := make([]requeued, len(ids))
	for i, id := range ids {
		receipt, err := h.api.RequeueDead(ctx, r.PathValue("queue"), id)
		if err != nil && len(ids) == 1 {
			return err
		}
		out[i] = requeued{ID: id, NewID: receipt.ID, Partition: receipt.Partition, Duplicate: receipt.Duplicate}
		if err != nil {
			p := kindOf(err)
			at, _ := job.ParseID(id)
			out[i] = requeued{ID: id, Partition: at.Partition, Error: p.Detail, Type: p.Type}
		}
	}
	return writeJSON(w, http.StatusOK, out)
}

// draining is the answer to a drain.
type draining struct {
	Draining []string `json:"draining"` // incarnations
}

func (h *handler) drain(w http.ResponseWriter, r *http.Request) error {
	if err := command(w, r, &struct{}{}); err != nil {
		return err
	}
	ctx, cancel := h.bounded(r)
	defer cancel()
	told, err := h.api.Drain(ctx, r.PathValue("worker"))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusAccepted, draining{told})
}

// health is the answer to a probe.
type health struct {
	Status string `json:"status"`
}

func (h *handler) live(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, health{"ok"})
}

// readyTimeout: a probe wants a quick answer.
const readyTimeout = time.Second

func (h *handler) ready(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
	defer cancel()
	if err := h.api.Ready(ctx); err != nil {
		h.o.Log.Warn("not ready", "error", err)
		return problem{Type: "unavailable", Status: http.StatusServiceUnavailable, Detail: "not ready: " + kindOf(err).Detail}
	}
	return writeJSON(w, http.StatusOK, health{"ready"})
}

//go:embed http_openapi.json
var openapi []byte

func (h *handler) openapi(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", typeJSON)
	_, _ = w.Write(openapi)
	return nil
}
