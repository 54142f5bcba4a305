package dispatch

import (
	"errors"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"ringmaster/job"
)

// maxEnvelope is what a job may take beside its payload: names, key, quotes, escapes.
const maxEnvelope = 16 << 10

// maxWait bounds ?wait: proxies give up on connections that are silent much longer.
const maxWait = time.Minute

// Content types that are accepted.
const (
	typeJSON   = "application/json"
	typeNDJSON = "application/x-ndjson"
)

// enqueue takes one job, or many as lines.
func (h *handler) enqueue(w http.ResponseWriter, r *http.Request) error {
	kind, err := contentType(r, typeJSON, typeNDJSON)
	if err != nil {
		return err
	}
	if kind == typeNDJSON {
		return h.enqueueLines(w, r)
	}
	data, err := readAll(http.MaxBytesReader(w, r.Body, job.MaxPayloadBytes+maxEnvelope))
	if err != nil {
		return err
	}
	j, err := job.Decode(data)
	if err != nil {
		return err
	}
	if j.IdempotencyKey, err = idempotencyKey(r, j.IdempotencyKey); err != nil {
		return err
	}
	if err := j.Validate(); err != nil {
		return err
	}
	ctx, cancel := h.bounded(r)
	defer cancel()
	queue := r.PathValue("queue")
	receipts, errs := h.api.Enqueue(ctx, queue, []job.Job{j})
	if errs != nil && errs[0] != nil {
		return errs[0]
	}
	if len(receipts) != 1 {
		return errors.New("enqueue of one job answered without a receipt")
	}
	w.Header().Set("Location", "/v1/queues/"+queue+"/jobs/"+url.PathEscape(receipts[0].ID))
	status := http.StatusCreated
	if receipts[0].Duplicate {
		status = http.StatusOK
	}
	return writeJSON(w, status, receipts[0])
}

// contentType is the body's type, one of those wanted.
func contentType(r *http.Request, want ...string) (string, error) {
	if err := uncoded(r); err != nil {
		return "", err
	}
	all := r.Header.Values("Content-Type")
	if len(all) != 1 {
		return "", unsupported("send exactly one Content-Type header: " + strings.Join(want, " or "))
	}
	kind, params, err := mime.ParseMediaType(all[0])
	if err != nil {
		return "", unsupported("the Content-Type is not well-formed: want " + strings.Join(want, " or "))
	}
	for name, v := range params {
		if name != "charset" || !strings.EqualFold(v, "utf-8") {
			return "", unsupported("the body must be UTF-8, without other parameters in its Content-Type")
		}
	}
	for _, k := range want {
		if kind == k {
			return kind, nil
		}
	}
	return "", unsupported("Content-Type " + clip(kind) + " is not accepted: want " + strings.Join(want, " or "))
}

// uncoded refuses compressed bodies: their size is not known before they are unpacked.
func uncoded(r *http.Request) error {
	for _, v := range r.Header.Values("Content-Encoding") {
		if !strings.EqualFold(strings.TrimSpace(v), "identity") {
			return unsupported("the body is encoded as " + clip(v) + ": send it as it is")
		}
	}
	return nil
}

// idempotencyKey is the header's or the field's; both may be given if they agree.
func idempotencyKey(r *http.Request, field string) (string, error) {
	all := r.Header.Values("Idempotency-Key")
	switch {
	case len(all) == 0:
		return field, nil
	case len(all) > 1:
		return "", job.Invalid("header Idempotency-Key is given %d times", len(all))
	case all[0] == "":
		return "", job.Invalid("header Idempotency-Key is empty: leave it out, or give the job a key of its own")
	case field != "" && field != all[0]:
		return "", job.Invalid("header Idempotency-Key and field \"idempotency_key\" differ: send one of them")
	}
	return all[0], nil
}

// job tells the state of one job, and waits for its end if asked to.
func (h *handler) job(w http.ResponseWriter, r *http.Request) error {
	queue, id := r.PathValue("queue"), r.PathValue("id")
	if _, err := job.ParseID(id); err != nil {
		return err
	}
	wait, err := waitOf(r)
	if err != nil {
		return err
	}
	var st job.Status
	if wait > 0 {
		st, err = h.api.WaitJob(r.Context(), queue, id, wait)
	} else {
		ctx, cancel := h.bounded(r)
		defer cancel()
		st, err = h.api.Job(ctx, queue, id)
	}
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, st)
}

func waitOf(r *http.Request) (time.Duration, error) {
	q := r.URL.Query()
	if !q.Has("wait") {
		return 0, nil
	}
	d, err := time.ParseDuration(q.Get("wait"))
	if err != nil || d < 0 {
		return 0, job.Invalid("wait=%s: want a duration like 10s or 500ms, at most %s", clip(q.Get("wait")), maxWait)
	}
	return min(d, maxWait), nil
}
