package dispatch

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"ringmaster/job"
)

// between cuts what stands between two marks.
func between(s, from, to string) string {
	_, rest, _ := strings.Cut(s, from)
	inner, _, _ := strings.Cut(rest, to)
	return inner
}

func TestPageRunsItsOwnScriptOnly(t *testing.T) {
	w := answer(NewHandler(&fakeAPI{queues: []job.QueueView{{Queue: "q"}}, ringV: busyRing()}, HTTPOptions{}), request("GET", "/", ""))
	body, policy := w.Body.String(), w.Header().Get("Content-Security-Policy")
	for _, text := range []string{between(body, "<style>", "</style>"), between(body, "<script>", "</script>")} {
		sum := sha256.Sum256([]byte(text))
		if text == "" || !strings.Contains(policy, base64.StdEncoding.EncodeToString(sum[:])) {
			t.Errorf("the policy does not cover %.60q", text)
		}
	}
	if strings.Contains(policy, "unsafe") || strings.Contains(body, " style=") || strings.Contains(body, " onclick=") {
		t.Error("something inline is not covered by the policy")
	}
	for _, want := range []string{"http-equiv=\"refresh\"", ">alpha<", "alpha.0001", "1 stopping", "3 draining", "nobody"} {
		if !strings.Contains(body, want) {
			t.Errorf("%q is not on the page", want)
		}
	}
}

// attacks are texts that break out of their place where somebody forgot to escape.
var attacks = []string{
	`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `'><svg/onload=alert(1)>`, `</style><script>alert(1)</script>`,
	`</title><script>alert(1)</script>`, `javascript:alert(1)`, `" onmouseover="alert(1)`, `' onfocus='alert(1)`, `<!--<script>`, `]]><script>`,
	`{{.CSS}}`, `${alert(1)}`, `<iframe srcdoc="<script>">`, `<math><mi xlink:href="data:x,<script>">`, "\x00<b>", `&lt;script&gt;`, `%3Cscript%3E`,
	"\u202e<script>", `<a href="javascript:alert(1)">`, `<base href="//evil.example">`, `<meta http-equiv="refresh" content="0;url=//evil">`,
}

func TestPageEscapesEverything(t *testing.T) {
	for _, evil := range attacks {
		ring := job.RingView{Queue: "q", Mode: evil, Leader: evil, Members: []job.RingMember{{Name: evil, Incarnation: evil, State: evil}},
			Partitions: []job.PartitionView{{Owner: evil}, {Owner: evil + "2"}}}
		plain := answer(NewHandler(&fakeAPI{queues: []job.QueueView{{Queue: "x"}}, ringV: harmless(ring)}, HTTPOptions{}), request("GET", "/", "")).Body.String()
		body := answer(NewHandler(&fakeAPI{queues: []job.QueueView{{Queue: evil}}, ringV: ring}, HTTPOptions{}), request("GET", "/", "")).Body.String()
		if a, b := strings.Count(plain, "<"), strings.Count(body, "<"); a != b {
			t.Errorf("%q: %d tags instead of %d", evil, b, a)
		}
		for _, quote := range []string{`"`, `'`} {
			if a, b := strings.Count(plain, quote), strings.Count(body, quote); a != b {
				t.Errorf("%q: %d %s instead of %d", evil, b, quote, a)
			}
		}
	}
}

func harmless(r job.RingView) job.RingView {
	r.Mode, r.Leader = "x", "x"
	r.Members = []job.RingMember{{Name: "x", Incarnation: "x", State: "x"}}
	r.Partitions = []job.PartitionView{{Owner: "x"}, {Owner: "x2"}}
	return r
}

func TestPageOfTroubles(t *testing.T) {
	for _, c := range []struct {
		api    *fakeAPI
		target string
		status int
		want   string
	}{
		{&fakeAPI{}, "/", 200, "No queue yet"},
		{&fakeAPI{queues: []job.QueueView{{Queue: "q"}}}, "/?queue=q", 200, "No worker serves"},
		{&fakeAPI{err: job.NotFound("no queue zz")}, "/?queue=zz", 404, "no queue zz"},
		{&fakeAPI{err: fmt.Errorf("list: %w", job.ErrUnavailable)}, "/", 503, "cannot reach"},
		{&fakeAPI{err: fmt.Errorf("secret")}, "/", 500, "log"},
	} {
		w := answer(NewHandler(c.api, HTTPOptions{}), request("GET", c.target, ""))
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) || strings.Contains(w.Body.String(), "secret") || !strings.HasSuffix(w.Body.String(), "</html>\n") {
			t.Errorf("%s: %d, want %d with %q", c.target, w.Code, c.status, c.want)
		}
	}
	wantProblem(t, answer(NewHandler(&fakeAPI{}, HTTPOptions{}), request("GET", "/?queue=a.b", "")), 400, "invalid")
}

func busyRing() job.RingView {
	v := job.RingView{Queue: "files", Epoch: 17, Phase: 1, Mode: "key", Leader: "dispatcher-1"}
	names := []string{"alpha", "beta", "gamma", "delta"}
	for i, n := range names {
		v.Members = append(v.Members, job.RingMember{Name: n, Incarnation: fmt.Sprintf("%s.%04d-6f1c-4b8e-9a57-0d2b8c1e44aa", n, i+1), State: "up", Weight: 1})
	}
	v.Members[3].State = "leaving"
	for p := range 64 {
		x := job.PartitionView{Partition: p, Owner: v.Members[p%4].Incarnation, Epoch: uint64(3 + p%5), Pending: p * 7 % 23}
		if p%13 == 5 {
			x.Draining = 3
		}
		if p == 9 {
			x.Owner = "-"
		}
		v.Partitions = append(v.Partitions, x)
	}
	return v
}
