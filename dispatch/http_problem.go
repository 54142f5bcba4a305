package dispatch

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"ringmaster/job"
)

// problem is an error as RFC 9457 shapes it. The types are relative references: they name
// the kind of an error and lead nowhere.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	// Results are the answers to the lines that came before a body was cut.
	Results []json.RawMessage `json:"results,omitempty"`
}

// titles are the short names of the types, the same for every occurrence.
var titles = map[string]string{
	"invalid":                "The request is not valid",
	"too-large":              "The request is too large",
	"not-found":              "No such thing",
	"unknown-job":            "What became of the job was lost",
	"conflict":               "The present state does not allow it",
	"method-not-allowed":     "The path does not know this method",
	"unsupported-media-type": "The body has a form that is not accepted",
	"timeout":                "The request took too long to arrive",
	"unauthorized":           "A token is needed",
	"forbidden":              "Requests from there are refused",
	"unavailable":            "The server behind this API was not reached",
	"unknown-outcome":        "It may have been done, or not",
	"not-permitted":          "The server behind this API refuses a right",
	"full":                   "The server behind this API is out of memory",
	"internal":               "Something is wrong in here",
}

func (p problem) Error() string { return p.Detail }

func writeProblem(w http.ResponseWriter, p problem) {
	if p.Title == "" {
		p.Title = titles[p.Type]
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	encode(w, p)
}

// encode writes one line of JSON. A client that is gone is no error of ours.
func encode(w http.ResponseWriter, v any) {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v)
}

func writeJSON(w http.ResponseWriter, status int, v any) error {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	encode(w, v)
	return nil
}

func notFound(w http.ResponseWriter, r *http.Request) {
	writeProblem(w, problem{Type: "not-found", Status: http.StatusNotFound, Detail: "no such path; GET /openapi.json describes those there are"})
}

func unsupported(detail string) problem {
	return problem{Type: "unsupported-media-type", Status: http.StatusUnsupportedMediaType, Detail: detail}
}

// kindOf is the one place that gives errors of package job a status.
func kindOf(err error) problem {
	var p problem
	if errors.As(err, &p) {
		return p
	}
	text := err.Error()
	switch {
	case errors.Is(err, job.ErrTooLarge):
		return problem{Type: "too-large", Status: http.StatusRequestEntityTooLarge, Detail: text}
	case errors.Is(err, job.ErrInvalid):
		return problem{Type: "invalid", Status: http.StatusBadRequest, Detail: text}
	case errors.Is(err, job.ErrUnknownJob):
		return problem{Type: "unknown-job", Status: http.StatusNotFound, Detail: text}
	case errors.Is(err, job.ErrNotFound):
		return problem{Type: "not-found", Status: http.StatusNotFound, Detail: text}
	case errors.Is(err, job.ErrConflict):
		return problem{Type: "conflict", Status: http.StatusConflict, Detail: text}
	case errors.Is(err, job.ErrNotPermitted):
		return problem{Type: "not-permitted", Status: http.StatusBadGateway, Detail: text}
	case errors.Is(err, job.ErrFull):
		return problem{Type: "full", Status: http.StatusInsufficientStorage, Detail: text + "; nothing was done: try again when jobs have completed"}
	case errors.Is(err, job.ErrOutcomeUnknown):
		return problem{Type: "unknown-outcome", Status: http.StatusGatewayTimeout,
			Detail: text + "; it may have been done, or be done yet: repeat the request under the same idempotency key, and it is done once"}
	case errors.Is(err, job.ErrUnavailable), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return problem{Type: "unavailable", Status: http.StatusServiceUnavailable, Detail: text + "; nothing was done: try again"}
	}
	return problem{Type: "internal", Status: http.StatusInternalServerError, Detail: "the dispatcher's log says what"}
}

// fail answers a request with its error, as long as nothing has been written.
func (h *handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := kindOf(err)
	if p.Type == "unknown-outcome" {
		switch {
		case r.Method == http.MethodGet, r.Method == http.MethodHead: // nothing can have been done
			p.Type, p.Status, p.Detail = "unavailable", http.StatusServiceUnavailable, err.Error()+"; try again"
		case !strings.HasSuffix(r.URL.Path, "/jobs"): // no idempotency key is taken there
			p.Detail = err.Error() + "; it may have been done, or be done yet: to repeat it does no harm"
		}
	}
	if p.Type == "internal" {
		h.o.Log.Error("request failed", "method", r.Method, "path", r.URL.EscapedPath(), "error", err)
	}
	if p.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	writeProblem(w, p)
}

// clip is a text of a client as an error may quote it.
func clip(s string) string {
	if len(s) <= 64 {
		return s
	}
	return strings.ToValidUTF8(s[:64], "") + "..."
}

// readAll reads a body to its end.
func readAll(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, readError(err)
	}
	return data, nil
}

// readError explains why a body could not be read.
func readError(err error) error {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return job.TooLarge("the body is larger than %d bytes", tooLarge.Limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return problem{Type: "timeout", Status: http.StatusRequestTimeout, Detail: "the body did not arrive in time"}
	default:
		return job.Invalid("the body could not be read to its end")
	}
}

func parseQuery(r *http.Request) (url.Values, error) {
	v, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, job.Invalid("the query is not well-formed: %v", err)
	}
	return v, nil
}
