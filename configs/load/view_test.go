package load

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"ringmaster/configs"
)

func TestView_ShowsEverythingButSecrets(t *testing.T) {
	path := write(t, `
queues: [a, b]
handlers:
  - type: x
    exec: { command: [sh, -c, ls] }
  - type: y
    http: { url: "http://u:`+canary+`@h/p?t=`+canary+`", timeout: 1m }
`)
	w, report, err := Worker(nil, path, []string{"RINGMASTER_REDIS=redis://:" + canary + "@h", "RINGMASTER_REDIS_PASSWORD=" + canary})
	wantLines(t, err)
	rows := configs.View(&w, report.Sources)
	if strings.Contains(fmt.Sprint(rows), canary) {
		t.Errorf("a secret is shown: %v", rows)
	}
	for _, want := range []configs.Row{
		{Key: "redis", Value: "redis://***@h", Source: "environment RINGMASTER_REDIS"},
		{Key: "redis_password", Value: "(set)", Source: "environment RINGMASTER_REDIS_PASSWORD"},
		{Key: "queues", Value: "a,b", Source: "file " + path + ":2"},
		{Key: "backoff_max", Value: "10m", Source: "default"},
		{Key: "handlers", Value: "x: exec sh -c ls (30s); y: http http://h/p?*** (1m)", Source: "file " + path + ":3"},
	} {
		if !slices.Contains(rows, want) {
			t.Errorf("no row %+v in\n%+v", want, rows)
		}
	}
	if first := rows[0].Key; first != "redis" {
		t.Errorf("first row: %s", first)
	}
	d := configs.DefaultDispatcher()
	if rows := configs.View(&d, nil); !slices.Contains(rows, configs.Row{Key: "token", Source: "default"}) {
		t.Errorf("no empty token in %+v", rows)
	}
}

func TestValidate(t *testing.T) {
	shared := write(t, "redis: redis://h\nlisten: 0.0.0.0:1\nqueues: [a]\n")
	v, err := Validate(shared)
	wantLines(t, err)
	if !slices.Equal(v.Programs, []string{"dispatcher", "worker"}) || len(v.Warnings) != 1 || !strings.Contains(v.Warnings[0], "needs a token") {
		t.Errorf("= %+v", v)
	}
	if v, err = Validate(write(t, "namespace: x\n")); err != nil || len(v.Programs) != 3 {
		t.Errorf("= %+v, %v", v, err)
	}
	_, err = Validate(write(t, "redis: ''\nlisten: x\nconcurrency: 0\noutput: yaml\nfoo: 1\nhandlers: 5\n"))
	wantLines(t, err, "unknown key \"foo\"", "listen =", "redis =", "concurrency =", "handlers: want a list", "output =")
	_, err = Validate("/no/such")
	wantLines(t, err, "/no/such")
}

func TestNearest(t *testing.T) {
	for in, want := range map[string]string{
		"drain-timeout": "drain_timeout", "quesue": "queues", "redis_pasword_file": "redis_password_file",
		"concurency": "concurrency", "handler": "handlers", "": "mode",
	} {
		if got := nearest(in, allKeys()); got != want {
			t.Errorf("nearest(%q) = %q, want %q", in, got, want)
		}
	}
	if got := nearest(strings.Repeat("x", 1<<20), allKeys()); got == "" {
		t.Error("no answer for a very long key")
	}
	if d := distance("ab", "ba"); d != 1 {
		t.Errorf("a swap costs %d", d)
	}
}
