package load

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestLoadWorker_Handlers(t *testing.T) {
	w, report, err := Worker(nil, write(t, `
queues: q
handlers:
  - type: a
    exec: { command: [sh, -c, "echo $0", 5], timeout: 5m }
  - &two
    type: b
    concurrency: 2
    http: { url: "https://h:9/x?k=v" }
`), nil)
	wantLines(t, err)
	a, b := w.Handlers[0], w.Handlers[1]
	if len(w.Handlers) != 2 || a.Type != "a" || !slices.Equal(a.Exec.Command, []string{"sh", "-c", "echo $0", "5"}) ||
		a.Exec.Timeout != 5*time.Minute || a.HTTP != nil || b.HTTP.URL != "https://h:9/x?k=v" || b.Exec != nil ||
		a.Concurrency != 0 || b.Concurrency != 2 {
		t.Errorf("handlers = %+v", w.Handlers)
	}
	if w.LongestTimeout() != 5*time.Minute || b.Timeout(w.HandlerTimeout) != 30*time.Second {
		t.Errorf("timeouts: longest %v, b %v", w.LongestTimeout(), b.Timeout(w.HandlerTimeout))
	}
	if len(report.Warnings) > 0 {
		t.Errorf("warnings = %q", report.Warnings)
	}
}

func TestLoadWorker_BadHandlers(t *testing.T) {
	ok := `exec: {command: [sh]}`
	tests := map[string]struct {
		handlers string
		wants    []string
	}{
		"no list":           {"{a: 1}", []string{"handlers: want a list"}},
		"no mapping":        {"[a]", []string{"handler: want a mapping with the keys type, concurrency, exec, http"}},
		"empty list":        {"[]", []string{"no handler"}},
		"no type":           {"[{" + ok + "}]", []string{"type is missing"}},
		"bad type":          {"[{type: a b, " + ok + "}]", []string{`handler: type: type "a b"`}},
		"twice":             {"[{type: a, " + ok + "}, {type: a, " + ok + "}]", []string{`type "a" has a handler already, in line 2`}},
		"neither":           {"[{type: a}]", []string{"exactly one of exec and http"}},
		"both":              {"[{type: a, " + ok + ", http: {url: http://h}}]", []string{"exactly one of exec and http"}},
		"unknown key":       {"[{typ: a, type: a, " + ok + "}]", []string{`handler: unknown key "typ": the nearest known key is "type"`}},
		"unknown in exec":   {"[{type: a, exec: {comand: [x], timeout: 1s}}]", []string{`unknown key "comand": the nearest known key is "command"`, "command is missing"}},
		"key twice":         {"[{type: a, type: b, " + ok + "}]", []string{`key "type" is there twice`}},
		"shell command":     {`[{type: a, exec: {command: "sha256sum -"}}]`, []string{"there is no shell"}},
		"empty command":     {"[{type: a, exec: {command: []}}]", []string{"command is empty"}},
		"empty program":     {`[{type: a, exec: {command: [""]}}]`, []string{"command is empty"}},
		"null argument":     {"[{type: a, exec: {command: [sh, ~]}}]", []string{"the value is missing"}},
		"nested argument":   {"[{type: a, exec: {command: [sh, [x]]}}]", []string{"want one value, not a list"}},
		"exec is no map":    {"[{type: a, exec: sh}]", []string{"exec: want a mapping with the keys command, timeout"}},
		"bare timeout":      {"[{type: a, exec: {command: [sh], timeout: 30}}]", []string{`exec: timeout: "30": the unit is missing: write 30s`}},
		"negative timeout":  {"[{type: a, http: {url: http://h, timeout: -1s}}]", []string{`http: timeout: "-1s": want a duration`}},
		"none at a time":    {"[{type: a, concurrency: 0, " + ok + "}]", []string{`handler: concurrency: "0": want a whole number of at least 1`}},
		"half at a time":    {"[{type: a, concurrency: 1.5, " + ok + "}]", []string{"want a whole number"}},
		"no url":            {"[{type: a, http: {}}]", []string{"http: url is missing"}},
		"other scheme":      {"[{type: a, http: {url: ftp://h}}]", []string{"http: url: want http://"}},
		"no host":           {"[{type: a, http: {url: http:///x}}]", []string{"http: url: want http://"}},
		"bad port":          {"[{type: a, http: {url: http://h:99999}}]", []string{"port from 1 to 65535"}},
		"two bad handlers":  {"[{type: a}, {type: b}]", []string{"exactly one", "exactly one"}},
		"contains itself":   {"&a [*a]", []string{"handler: want a mapping"}},
		"duplicate builtin": {"[{type: echo, " + ok + "}]", nil},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			path := write(t, "queues: [q]\nhandlers: "+tc.handlers+"\n")
			_, _, err := Worker(nil, path, nil)
			wantLines(t, err, tc.wants...)
		})
	}
	_, _, err := Worker(nil, write(t, "queues: [q]\nbuiltin: true\nhandlers: [{type: echo, "+ok+"}]\n"), nil)
	wantLines(t, err, `type "echo" is built in`)
}

func TestLoadWorker_MissingCommandWarns(t *testing.T) {
	_, report, err := Worker(nil, write(t, "queues: [q]\nhandlers: [{type: a, exec: {command: [/no/such]}}]\n"), nil)
	wantLines(t, err)
	if len(report.Warnings) != 1 || !strings.Contains(report.Warnings[0], "/no/such") {
		t.Errorf("warnings = %q", report.Warnings)
	}
}
