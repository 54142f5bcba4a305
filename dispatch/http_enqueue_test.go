package dispatch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"ringmaster/job"
)

const jobsPath = "/v1/queues/q/jobs"

func TestEnqueueTakes(t *testing.T) {
	deep := strings.Repeat("[", job.MaxDepth-1) + strings.Repeat("]", job.MaxDepth-1)
	full := `"` + strings.Repeat("x", job.MaxPayloadBytes-2) + `"`
	for _, c := range []struct {
		body string
		want job.Job
	}{
		{`{"type":"a"}`, job.Job{Type: "a"}},
		{" \n{\"payload\":{\"k\":1,\"k\":2},\"key\":\"k\",\"type\":\"a\"}\r\n", job.Job{Type: "a", Key: "k", Payload: []byte(`{"k":1,"k":2}`)}},
		{`{"type":"a","key":""}`, job.Job{Type: "a"}},
		{`{"type":"a","key":"` + strings.Repeat("k", 512) + `"}`, job.Job{Type: "a", Key: strings.Repeat("k", 512)}},
		{`{"type":"a","key":"\u0000\r\n\t {}:*../\u001b[31m"}`, job.Job{Type: "a", Key: "\x00\r\n\t {}:*../\x1b[31m"}},
		{`{"type":"a","key":"\ud83d\ude00\u202e😀"}`, job.Job{Type: "a", Key: "😀\u202e😀"}},
		{`{"type":"a","payload":[1e400,-0,9007199254740993,9223372036854775808]}`, job.Job{Type: "a", Payload: []byte(`[1e400,-0,9007199254740993,9223372036854775808]`)}},
		{`{"type":"a","payload":null}`, job.Job{Type: "a", Payload: []byte("null")}},
		{`{"type":"a","payload":` + deep + `}`, job.Job{Type: "a", Payload: []byte(deep)}},
		{`{"type":"a","payload":` + full + `}`, job.Job{Type: "a", Payload: []byte(full)}},
		{`{"type":"a","idempotency_key":"i"}`, job.Job{Type: "a", IdempotencyKey: "i"}},
		{`{"type":"a","payload":"\\ud800 \\"}`, job.Job{Type: "a", Payload: []byte(`"\\ud800 \\"`)}},
	} {
		api := &fakeAPI{}
		w := answer(NewHandler(api, HTTPOptions{}), request("POST", jobsPath, c.body))
		if w.Code != 201 || w.Body.String() != `{"id":"3-1-0","partition":3,"duplicate":false}`+"\n" || w.Header().Get("Location") != jobsPath+"/3-1-0" {
			t.Errorf("%.80s: %d %s", c.body, w.Code, w.Body)
			continue
		}
		if j := api.jobs[0]; api.queue != "q" || j.Type != c.want.Type || j.Key != c.want.Key || !bytes.Equal(j.Payload, c.want.Payload) || j.IdempotencyKey != c.want.IdempotencyKey {
			t.Errorf("%.80s: went in as %+v", c.body, j)
		}
	}
}

func TestEnqueueRefuses(t *testing.T) {
	for _, c := range []struct {
		body, kind, says string
	}{
		{``, "unsupported-media-type", ""},
		{` `, "invalid", "empty"},
		{`x`, "invalid", "not JSON"},
		{`{"type":"a"`, "invalid", "ends too early"},
		{`{"type":"a"}{}`, "invalid", "something follows"},
		{`{"type":"a"} x`, "invalid", "something follows"},
		{`["type","a"]`, "invalid", "JSON object"},
		{`null`, "invalid", "JSON object"},
		{`"type"`, "invalid", "JSON object"},
		{`{"type":"a","key":"a","key":"b"}`, "invalid", "twice"},
		{`{"type":"a","key":"a","\u006bey":"b"}`, "invalid", "twice"},
		{`{"type":"a","delay":"10s"}`, "invalid", `unknown field "delay"`},
		{`{"Type":"a"}`, "invalid", `unknown field "Type"`},
		{`{"type":"a","":1}`, "invalid", "unknown field"},
		{`{"type":"a","key":1}`, "invalid", "want a string"},
		{`{"type":null}`, "invalid", "want a string"},
		{`{"type":["a"]}`, "invalid", "want a string"},
		{`{"key":"k"}`, "invalid", "type is required"},
		{`{"type":"a b"}`, "invalid", "type"},
		{`{"type":"a","key":"` + strings.Repeat("k", 513) + `"}`, "invalid", "512"},
		{"{\"type\":\"a\",\"key\":\"\xff\"}", "invalid", "UTF-8"},
		{"{\"type\":\"a\",\"payload\":\"\xed\xa0\x80\"}", "invalid", "UTF-8"},
		{`{"type":"a","key":"\ud800"}`, "invalid", "surrogate"},
		{`{"type":"a","payload":["\udc00"]}`, "invalid", "surrogate"},
		{`{"type":"a","key":"\ud800\u0041"}`, "invalid", "surrogate"},
		{`{"type":"a","payload":NaN}`, "invalid", "not JSON"},
		{`{"type":"a","payload":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + `}`, "invalid", "nests deeper"},
		{`{"type":"a","idempotency_key":""}`, "invalid", "empty"},
		{`{"type":"a","idempotency_key":"` + strings.Repeat("i", 1000) + `"}`, "invalid", "256"},
		{`{"type":"a","payload":"` + strings.Repeat("x", job.MaxPayloadBytes-1) + `"}`, "too-large", "1048576"},
		{`{"type":"a","payload":"` + strings.Repeat("x", 2*job.MaxPayloadBytes) + `"}`, "too-large", "larger"},
	} {
		api := &fakeAPI{}
		w := answer(NewHandler(api, HTTPOptions{}), request("POST", jobsPath, c.body))
		status := map[string]int{"invalid": 400, "too-large": 413, "unsupported-media-type": 415}[c.kind]
		if p := wantProblem(t, w, status, c.kind); !strings.Contains(p.Detail, c.says) {
			t.Errorf("%.80s: %s", c.body, p.Detail)
		}
		if len(api.jobs) > 0 {
			t.Errorf("%.80s: went in", c.body)
		}
	}
}

func TestEnqueueHeaders(t *testing.T) {
	for _, c := range []struct {
		body   string
		head   []string
		status int
	}{
		{`{"type":"a"}`, []string{"Content-Type", "application/json; charset=UTF-8"}, 201},
		{`{"type":"a"}`, []string{"Content-Type", "application/json; charset=utf-7"}, 415},
		{`{"type":"a"}`, []string{"Content-Type", "application/json; version=2"}, 415},
		{`{"type":"a"}`, []string{"Content-Type", "text/plain"}, 415},
		{`{"type":"a"}`, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415},
		{`{"type":"a"}`, []string{"Content-Type", "/"}, 415},
		{`{"type":"a"}`, []string{"Content-Encoding", "gzip"}, 415},
		{`{"type":"a","key":null,"idempotency_key":null}`, []string{"Idempotency-Key", "i"}, 201},
		{`{"type":"a"}`, []string{"Content-Encoding", "identity"}, 201},
		{`{"type":"a"}`, []string{"Idempotency-Key", "i"}, 201},
		{`{"type":"a","idempotency_key":"i"}`, []string{"Idempotency-Key", "i"}, 201},
		{`{"type":"a","idempotency_key":"i"}`, []string{"Idempotency-Key", "j"}, 400},
		{`{"type":"a"}`, []string{"Idempotency-Key", ""}, 400},
		{`{"type":"a"}`, []string{"Idempotency-Key", "i", "Idempotency-Key", "i"}, 400},
		{`{"type":"a"}`, []string{"Idempotency-Key", strings.Repeat("i", 300)}, 400},
		{`{"type":"a"}`, []string{"Idempotency-Key", "\xff"}, 400},
	} {
		api := &fakeAPI{}
		w := answer(NewHandler(api, HTTPOptions{}), request("POST", jobsPath, c.body, c.head...))
		if w.Code != c.status {
			t.Errorf("%s %q: %d %s", c.body, c.head, w.Code, w.Body)
		}
		if c.status == 201 && c.head[0] == "Idempotency-Key" && api.jobs[0].IdempotencyKey != "i" {
			t.Errorf("%q: %+v", c.head, api.jobs[0])
		}
	}
	w := answer(NewHandler(&fakeAPI{dup: true}, HTTPOptions{}), request("POST", jobsPath, `{"type":"a"}`, "Idempotency-Key", "i"))
	if w.Code != 200 || !strings.Contains(w.Body.String(), `"duplicate":true`) {
		t.Errorf("a repeat: %d %s", w.Code, w.Body)
	}
}

func TestEnqueueOfABrokenBody(t *testing.T) {
	r := request("POST", jobsPath, "x")
	r.Body = io.NopCloser(iotest.ErrReader(errors.New("connection reset")))
	wantProblem(t, answer(NewHandler(&fakeAPI{}, HTTPOptions{}), r), 400, "invalid")
}

// lines posts a body of lines and returns the answers by line number.
func lines(t *testing.T, api *fakeAPI, body string) []map[string]any {
	t.Helper()
	w := answer(NewHandler(api, HTTPOptions{}), request("POST", jobsPath, body, "Content-Type", typeNDJSON))
	if w.Code != 200 || w.Header().Get("Content-Type") != typeNDJSON {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	var out []map[string]any
	for line := range strings.Lines(w.Body.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		out = append(out, m)
	}
	return out
}

func TestLines(t *testing.T) {
	api := &fakeAPI{errs: map[int]error{1: job.Conflict("key was used for \"another\"")}}
	got := lines(t, api, "{\"type\":\"a\"}\r\n\nx\n{\"type\":\"b\"}\n{\"type\":\"a\",\"delay\":\"1s\"}\n"+
		`{"type":"c","payload":"`+strings.Repeat("x", lineLimit)+"\"}\n{\"type\":\"d\"}")
	want := []string{`1 "3-1-0"`, `3 "invalid"`, `4 "conflict"`, `5 "invalid"`, `6 "too-large"`, `7 "3-1-2"`}
	for i, m := range got {
		value := m["id"]
		if value == nil {
			value = m["type"]
			if m["error"] == "" {
				t.Errorf("line %v has no text", m)
			}
		}
		if s := fmt.Sprintf("%v %q", m["line"], value); i >= len(want) || s != want[i] {
			t.Errorf("answer %d is %s, want %s", i, s, want[min(i, len(want)-1)])
		}
	}
	if text, _ := got[4]["error"].(string); !strings.Contains(text, "longer than") {
		t.Errorf("the long line: %v", got[4])
	}
	if len(got) != len(want) || len(api.jobs) != 3 || api.jobs[2].Type != "d" {
		t.Errorf("%d answers, jobs %+v", len(got), api.jobs)
	}
}

func TestLinesStopWhenTheServerIsGone(t *testing.T) {
	api := &fakeAPI{errs: map[int]error{499: fmt.Errorf("enqueue: %w", job.ErrOutcomeUnknown)}}
	got := lines(t, api, strings.Repeat("{\"type\":\"a\"}\n", 700))
	if len(api.jobs) != batchLines {
		t.Errorf("%d jobs were sent", len(api.jobs))
	}
	for i, m := range got {
		want := any(nil)
		if i == 499 {
			want = "unknown-outcome"
		} else if i > 499 {
			want = "unavailable"
		}
		if m["type"] != want || m["line"] != float64(i+1) {
			t.Fatalf("answer %d is %v", i, m)
		}
	}
}

func TestLinesRefusesAsAWhole(t *testing.T) {
	h := NewHandler(&fakeAPI{}, HTTPOptions{})
	wantProblem(t, answer(h, request("POST", jobsPath, "\n\n", "Content-Type", typeNDJSON)), 400, "invalid")
	wantProblem(t, answer(h, request("POST", jobsPath, "{}", "Content-Type", typeNDJSON, "Idempotency-Key", "i")), 400, "invalid")
	wantProblem(t, answer(h, request("POST", "/v1/queues/a.b/jobs", "{}", "Content-Type", typeNDJSON)), 400, "invalid")
}
