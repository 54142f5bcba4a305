package dispatch

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestToken(t *testing.T) {
	const token = "correct horse"
	for _, c := range []struct {
		name   string
		target string
		head   []string
		ok     bool
	}{
		{"none", "/v1/queues", nil, false},
		{"right", "/v1/queues", []string{"Authorization", "Bearer " + token}, true},
		{"scheme in lower case", "/v1/queues", []string{"Authorization", "bearer " + token}, true},
		{"short", "/v1/queues", []string{"Authorization", "Bearer correct"}, false},
		{"longer", "/v1/queues", []string{"Authorization", "Bearer " + token + "x"}, false},
		{"empty", "/v1/queues", []string{"Authorization", "Bearer "}, false},
		{"no scheme", "/v1/queues", []string{"Authorization", token}, false},
		{"another scheme", "/v1/queues", []string{"Authorization", "Basic " + token}, false},
		{"twice", "/v1/queues", []string{"Authorization", "Bearer " + token, "Authorization", "Bearer " + token}, false},
		{"in the query", "/v1/queues?token=" + token, nil, false},
		{"in the query, too", "/v1/queues?access_token=correct+horse", nil, false},
		{"description", "/openapi.json", nil, false},
		{"no such path", "/nothing", nil, false},
		{"livez", "/livez", nil, true},
		{"readyz", "/readyz", nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := NewHandler(&fakeAPI{}, HTTPOptions{Token: token})
			w := answer(h, request("GET", c.target, "", c.head...))
			if c.ok {
				if w.Code != 200 {
					t.Errorf("%d %s", w.Code, w.Body)
				}
				return
			}
			wantProblem(t, w, 401, "unauthorized")
			if w.Header().Get("WWW-Authenticate") == "" || strings.Contains(w.Body.String(), token) {
				t.Errorf("%v %s", w.Header(), w.Body)
			}
		})
	}
	api := &fakeAPI{}
	wantProblem(t, answer(NewHandler(api, HTTPOptions{Token: token}), request("POST", jobsPath, `{"type":"a"}`)), 401, "unauthorized")
	if len(api.jobs) > 0 {
		t.Error("a job went in without a token")
	}
	w := answer(NewHandler(&fakeAPI{}, HTTPOptions{Token: token}), request("GET", "/", ""))
	if w.Code != 401 || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") || !strings.Contains(w.Body.String(), "Authorization: Bearer") {
		t.Errorf("page: %d %s", w.Code, w.Body)
	}
}

func TestHostMustBeOurs(t *testing.T) {
	for _, c := range []struct {
		listen, host string
		ok           bool
	}{
		{"", "127.0.0.1:7070", true},
		{"127.0.0.1:7070", "127.0.0.1:7070", true},
		{"127.0.0.1:7070", "localhost:7070", true},
		{"127.0.0.1:7070", "LOCALHOST", true},
		{"127.0.0.1:7070", "[::1]:7070", true},
		{"127.0.0.1:7070", "[::1]", true},
		{"127.0.0.1:7070", "localhost:1", true},
		{"127.0.0.1:7070", "evil.example:7070", false},
		{"127.0.0.1:7070", "127.0.0.1.evil.example", false},
		{"127.0.0.1:7070", "localhost.", false},
		{"127.0.0.1:7070", "", false},
		{"127.0.0.5:7070", "127.0.0.5:7070", true},
		{"[::1]:7070", "[::1]:7070", true},
		{"localhost:7070", "evil.example", false},
		{"0.0.0.0:7070", "ring.example", true},
		{":7070", "127.0.0.1:7070", true},
		{"ring.example:7070", "other.example", true},
	} {
		r := request("GET", "/v1/queues", "")
		r.Host = c.host
		w := answer(NewHandler(&fakeAPI{}, HTTPOptions{Listen: c.listen}), r)
		if c.ok && w.Code != 200 {
			t.Errorf("listener %s, host %s: %d %s", c.listen, c.host, w.Code, w.Body)
		}
		if !c.ok {
			wantProblem(t, w, 403, "forbidden")
		}
	}
}

func TestOtherOriginsMayNotWrite(t *testing.T) {
	for _, c := range []struct {
		method string
		head   []string
		ok     bool
	}{
		{"POST", nil, true},
		{"POST", []string{"Sec-Fetch-Site", "same-origin"}, true},
		{"POST", []string{"Sec-Fetch-Site", "none"}, true},
		{"POST", []string{"Sec-Fetch-Site", "cross-site"}, false},
		{"POST", []string{"Sec-Fetch-Site", "same-site"}, false},
		{"POST", []string{"Origin", "http://127.0.0.1:7070"}, true},
		{"POST", []string{"Origin", "http://evil.example"}, false},
		{"POST", []string{"Origin", "null"}, false},
		{"GET", []string{"Sec-Fetch-Site", "cross-site"}, true},
	} {
		target, body := "/v1/queues", ""
		if c.method == "POST" {
			target, body = jobsPath, `{"type":"a"}`
		}
		api := &fakeAPI{}
		w := answer(NewHandler(api, HTTPOptions{}), request(c.method, target, body, c.head...))
		if c.ok && w.Code >= 300 {
			t.Errorf("%s %v: %d %s", c.method, c.head, w.Code, w.Body)
		}
		if !c.ok {
			wantProblem(t, w, 403, "forbidden")
			if len(api.jobs) > 0 {
				t.Errorf("%v: the job went in", c.head)
			}
		}
		if got := w.Header().Get("Access-Control-Allow-Origin"); got != "" {
			t.Errorf("CORS is open: %s", got)
		}
	}
}

func TestHeadersOfEveryAnswer(t *testing.T) {
	for _, target := range []string{"/", "/v1/queues", "/nothing", "/livez", "/openapi.json"} {
		h := answer(NewHandler(&fakeAPI{}, HTTPOptions{}), request("GET", target, "")).Header()
		if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "no-referrer" || h.Get("Cache-Control") != "no-store" ||
			!strings.Contains(h.Get("Content-Security-Policy"), "default-src 'none'") || !strings.Contains(h.Get("Content-Security-Policy"), "frame-ancestors 'none'") {
			t.Errorf("%s: %v", target, h)
		}
	}
}

// raw sends bytes to a server that listens, and returns the status line and the body.
func raw(t *testing.T, addr, request string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	// The server may answer and close before it has read everything.
	_, _ = io.WriteString(conn, request)
	r, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = r.Body.Close() }()
	body, _ := io.ReadAll(r.Body)
	return fmt.Sprintf("%d %s", r.StatusCode, body)
}

func TestOnTheWire(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	api := &fakeAPI{}
	s := NewServer(NewHandler(api, HTTPOptions{Listen: l.Addr().String()}))
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	defer func() {
		_ = s.Shutdown(context.Background())
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serve: %v", err)
		}
	}()
	const post = "POST /v1/queues/q/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
	chunk := fmt.Sprintf("%x\r\n%s\r\n", 256<<10, strings.Repeat("x", 256<<10))
	for _, c := range []struct{ name, request, want string }{
		{"plain", post + "Content-Length: 12\r\n\r\n{\"type\":\"a\"}", "201 "},
		{"chunked", post + "Transfer-Encoding: chunked\r\n\r\nc\r\n{\"type\":\"a\"}\r\n0\r\n\r\n", "201 "},
		{"chunked beyond the limit", post + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat(chunk, 5) + "0\r\n\r\n", "413 "},
		{"announced beyond the limit", post + "Content-Length: 99999999\r\n\r\n{\"type\":\"a\"" + strings.Repeat(" ", 3<<20), "413 "},
		{"two lengths", post + "Content-Length: 12\r\nContent-Length: 13\r\n\r\n{\"type\":\"a\"}", "400 "},
		{"length and chunks of another encoding", post + "Content-Length: 12\r\nTransfer-Encoding: x\r\n\r\n{\"type\":\"a\"}", "501 "},
		{"huge header", "GET /livez HTTP/1.1\r\nHost: localhost\r\nX: " + strings.Repeat("x", 1<<20) + "\r\n\r\n", "431 "},
		{"many headers", "GET /livez HTTP/1.1\r\nHost: localhost\r\n" + strings.Repeat("X: y\r\n", 20_000) + "\r\n", "431 "},
		{"no host", "GET /livez HTTP/1.1\r\n\r\n", "400 "},
		{"foreign host", "GET /livez HTTP/1.1\r\nHost: evil.example\r\n\r\n", "403 "},
		{"full address as path", "GET http://localhost/livez HTTP/1.1\r\nHost: localhost\r\n\r\n", "200 "},
		{"options of everything", "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", ""},
	} {
		if got := raw(t, l.Addr().String(), c.request); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %.200s, want %s", c.name, got, c.want)
		}
	}
	if len(api.jobs) != 2 {
		t.Errorf("%d jobs went in", len(api.jobs))
	}
}
