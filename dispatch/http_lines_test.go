package dispatch

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
)

const oneLine = "{\"type\":\"a\"}\n"

// cut is a body that breaks in the middle of the line after n.
func cut(n int) io.Reader {
	return io.MultiReader(strings.NewReader(strings.Repeat(oneLine, n)+`{"ty`), iotest.ErrReader(errors.New("reset")))
}

// A body that breaks off is an error of the request, and tells what became of the lines before.
func TestABodyThatIsCut(t *testing.T) {
	r := request("POST", jobsPath, "x", "Content-Type", typeNDJSON)
	r.Body = io.NopCloser(cut(2))
	api := &fakeAPI{}
	w := answer(NewHandler(api, HTTPOptions{}), r)
	wantProblem(t, w, http.StatusBadRequest, "invalid")
	var p struct{ Results []struct{ Line int } }
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || len(api.jobs) != 2 || len(p.Results) != 2 || p.Results[1].Line != 2 {
		t.Errorf("%d jobs, %v, %s", len(api.jobs), err, w.Body)
	}
}

// post sends lines to a real server and returns the answer.
func post(t *testing.T, api API, body io.Reader) *http.Response {
	t.Helper()
	s := httptest.NewServer(NewHandler(api, HTTPOptions{}))
	t.Cleanup(s.Close)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+jobsPath, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", typeNDJSON)
	resp, err := s.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

// Any number of lines is taken, and they are answered while more of them come.
func TestAnyNumberOfLines(t *testing.T) {
	const all = 60_000
	body, more := io.Pipe()
	answered := make(chan struct{})
	sent := make(chan error, 1)
	go func() {
		_, err := io.WriteString(more, strings.Repeat(oneLine, all-1))
		<-answered
		if err == nil {
			_, err = io.WriteString(more, oneLine)
		}
		_ = more.CloseWithError(err)
		sent <- err
	}()
	api := &fakeAPI{}
	resp := post(t, api, body)
	n := 0
	for in := bufio.NewScanner(resp.Body); in.Scan(); n++ {
		if n == 0 {
			close(answered) // the first answer is here, the last line is not sent yet
		}
		if want := fmt.Sprintf(`{"line":%d,"id":"3-1-%d","duplicate":false}`, n+1, n); in.Text() != want {
			t.Fatalf("answer %d is %s", n, in.Text())
		}
	}
	if err := <-sent; err != nil || n != all || len(api.jobs) != all || resp.StatusCode != http.StatusOK {
		t.Errorf("%d answers, %d jobs, status %d, %v", n, len(api.jobs), resp.StatusCode, err)
	}
}

// brokenBody makes the body of a request break off at the server, as where a proxy gave up.
type brokenBody struct{ http.Handler }

func (b brokenBody) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Body = io.NopCloser(cut(60_000))
	b.Handler.ServeHTTP(w, r)
}

// Where answers were sent already a cut body has a cut answer, which no client takes for a
// whole one.
func TestACutBodyHasACutAnswer(t *testing.T) {
	s := httptest.NewServer(brokenBody{NewHandler(&fakeAPI{}, HTTPOptions{})})
	defer s.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+jobsPath, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", typeNDJSON)
	resp, err := s.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if text, err := io.ReadAll(resp.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the answer ends well: %v, %s", err, text[max(0, len(text)-100):])
	}
}
