package handlers

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"ringmaster/configs"
	"ringmaster/job"
)

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func TestHTTP_Request(t *testing.T) {
	var got *http.Request
	var body []byte
	target := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
	})
	d := delivery(`{"a":1}`)
	d.Key = "ü 100%\r\nX: y"
	if _, err := HTTP(configs.HTTP{URL: target + "/charge"}, 1<<20, nil)(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if got.Method != http.MethodPost || got.URL.Path != "/charge" || string(body) != `{"a":1}` {
		t.Errorf("%s %s with body %s", got.Method, got.URL, body)
	}
	want := map[string]string{
		"Content-Type":       "application/json",
		"Ringmaster-Job-Id":  "7-1700000000000-2",
		"Ringmaster-Key":     "%C3%BC%20100%25%0D%0AX:%20y",
		"Ringmaster-Type":    "sha256",
		"Ringmaster-Attempt": "4",
		"Ringmaster-Fence":   "8589934595",
	}
	for name, value := range want {
		if got.Header.Get(name) != value {
			t.Errorf("header %s = %q, want %q", name, got.Header.Get(name), value)
		}
	}
	if key, err := url.PathUnescape(got.Header.Get("Ringmaster-Key")); err != nil || key != d.Key {
		t.Errorf("decoded key = %q, %v", key, err)
	}

	if _, err := HTTP(configs.HTTP{URL: target}, 1<<20, nil)(t.Context(), job.Delivery{Type: "t", Attempt: 1}); err != nil {
		t.Fatal(err)
	}
	if _, there := got.Header["Ringmaster-Key"]; there || string(body) != "null" {
		t.Errorf("without key and payload: headers %v, body %s", got.Header, body)
	}
}

func TestHTTP_Outcome(t *testing.T) {
	tests := map[string]struct {
		status     int
		retryAfter string
		body       string
		result     string
		err        string
		dead       bool
		after      time.Duration
	}{
		"JSON":                     {status: 200, body: "{\"ok\": true}\n", result: `{"ok": true}`},
		"text":                     {status: 201, body: "fine", result: `"fine"`},
		"no content":               {status: 204},
		"not UTF-8":                {status: 200, body: "\xff", result: "\"\uFFFD\""},
		"largest":                  {status: 200, body: strings.Repeat("1", 1<<20) + "\n", result: strings.Repeat("1", 1<<20)},
		"too large":                {status: 200, body: strings.Repeat("1", 1<<20+1), err: "larger than 1048576 bytes", dead: true},
		"much too large":           {status: 200, body: strings.Repeat("1", 3<<20), err: "larger than 1048576 bytes", dead: true},
		"redirect":                 {status: 302, err: "redirects are not followed"},
		"bad request":              {status: 400, body: "no amount\n", err: "answered 400 Bad Request: no amount", dead: true},
		"unauthorized is no dead":  {status: 401, err: "401"},
		"not found":                {status: 404, err: "404", dead: true},
		"conflict is no dead":      {status: 409, err: "409"},
		"gone":                     {status: 410, err: "410", dead: true},
		"unprocessable":            {status: 422, err: "422", dead: true},
		"throttled":                {status: 429, retryAfter: "7", err: "429", after: 7 * time.Second},
		"unavailable":              {status: 503, retryAfter: " 120 ", err: "503", after: 2 * time.Minute},
		"unavailable, no word":     {status: 503, err: "503"},
		"unavailable, nonsense":    {status: 503, retryAfter: "soon", err: "503"},
		"unavailable, negative":    {status: 503, retryAfter: "-5", err: "503"},
		"unavailable, at once":     {status: 503, retryAfter: "0", err: "503"},
		"unavailable, for ever":    {status: 503, retryAfter: "99999999999999999999999", err: "503", after: 24 * time.Hour},
		"unavailable, for years":   {status: 503, retryAfter: "9999999999", err: "503", after: 24 * time.Hour},
		"unavailable, past date":   {status: 503, retryAfter: "Sun, 06 Nov 1994 08:49:37 GMT", err: "503"},
		"unavailable, far date":    {status: 503, retryAfter: "Fri, 06 Nov 2294 08:49:37 GMT", err: "503", after: 24 * time.Hour},
		"500 ignores Retry-After":  {status: 500, retryAfter: "7", err: "500"},
		"terminal codes of a body": {status: 500, body: "\x1b[31mred", err: "Error: [31mred"},
		"status without a name":    {status: 599, err: "answered 599"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var calls int
			target := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				calls++
				w.Header().Set("Location", "/elsewhere")
				w.Header().Set("Retry-After", tc.retryAfter)
				w.WriteHeader(tc.status)
				_, _ = io.WriteString(w, tc.body)
			})
			got, err := HTTP(configs.HTTP{URL: target}, 1<<20, nil)(t.Context(), delivery("1"))
			if (err != nil) != (tc.err != "") || (err != nil && !strings.Contains(err.Error(), tc.err)) {
				t.Fatalf("error = %v, want one with %q", err, tc.err)
			}
			if string(got) != tc.result {
				t.Errorf("result = %.100q, want %.100q", got, tc.result)
			}
			if dead, after := job.Verdict(err); dead != tc.dead || after != tc.after {
				t.Errorf("dead = %v, after = %v; want %v, %v", dead, after, tc.dead, tc.after)
			}
			if calls != 1 {
				t.Errorf("%d requests", calls)
			}
		})
	}
}

func TestRetryAfter_Date(t *testing.T) {
	now := time.Date(2030, 5, 6, 7, 8, 9, 0, time.UTC)
	if d, ok := retryAfter(now.Add(90*time.Second).Format(http.TimeFormat), now); !ok || d != 90*time.Second {
		t.Errorf("= %v, %v, want 90s", d, ok)
	}
}

// TestHTTP_ADateIsOfTheClockThatSaidIt: a server whose clock is an hour away asks for a minute all the same.
func TestHTTP_ADateIsOfTheClockThatSaidIt(t *testing.T) {
	for _, away := range []time.Duration{-time.Hour, 0, time.Hour} {
		target := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			theirs := time.Now().Add(away).UTC()
			w.Header().Set("Date", theirs.Format(http.TimeFormat))
			w.Header().Set("Retry-After", theirs.Add(time.Minute).Format(http.TimeFormat))
			w.WriteHeader(http.StatusServiceUnavailable)
		})
		_, err := HTTP(configs.HTTP{URL: target}, 1<<20, nil)(t.Context(), delivery("1"))
		if _, after := job.Verdict(err); after != time.Minute {
			t.Errorf("a server that is %v ahead asked for a minute: waits %v", away, after)
		}
	}
}

func TestHTTP_EndsWithTheContext(t *testing.T) {
	arrived := make(chan struct{}, 1)
	target := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body) // only then does the server notice that the client is gone
		arrived <- struct{}{}
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() { <-arrived; cancel(job.ErrLost) }()
	if _, err := HTTP(configs.HTTP{URL: target}, 1<<20, nil)(ctx, delivery("1")); !errors.Is(err, job.ErrLost) {
		t.Errorf("error = %v, want ErrLost", err)
	}
	f := HTTP(configs.HTTP{URL: target, Timeout: 20 * time.Millisecond}, 1<<20, nil)
	if _, err := f(t.Context(), delivery("1")); !errors.Is(err, job.ErrTimeout) {
		t.Errorf("error = %v, want ErrTimeout", err)
	}
}

func TestHTTP_ErrorsHideTheURL(t *testing.T) {
	f := HTTP(configs.HTTP{URL: "http://user:canary@127.0.0.1:1/?token=canary"}, 1<<20, nil)
	_, err := f(t.Context(), delivery("1"))
	if err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("error = %v", err)
	}
}

func TestHTTP_KeepsTheClientItIsGiven(t *testing.T) {
	client := &http.Client{Timeout: time.Minute}
	HTTP(configs.HTTP{URL: "http://127.0.0.1:1"}, 1<<20, client)
	if client.CheckRedirect != nil {
		t.Error("the caller's client was changed")
	}
}
