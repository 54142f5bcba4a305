package load

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"ringmaster/configs"
	"ringmaster/job"
)

// write makes a file of the mode 0600 and returns its path.
func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func parse(t *testing.T, register func(*pflag.FlagSet), args ...string) *pflag.FlagSet {
	t.Helper()
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	register(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return fs
}

// wantLines checks that err is an ErrInvalid with exactly one line for each part, in
// order, that contains it.
func wantLines(t *testing.T, err error, parts ...string) {
	t.Helper()
	if len(parts) == 0 {
		if err != nil {
			t.Errorf("error:\n%v\nwant none", err)
		}
		return
	}
	if !errors.Is(err, job.ErrInvalid) {
		t.Fatalf("error = %v, want an ErrInvalid with %q", err, parts)
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != len(parts) {
		t.Fatalf("error has %d lines, want %d:\n%v", len(lines), len(parts), err)
	}
	for i, part := range parts {
		if !strings.Contains(lines[i], part) {
			t.Errorf("line %d:\n%s\nwant\n%s", i+1, lines[i], part)
		}
	}
}

func TestLoadWorker_Precedence(t *testing.T) {
	path := write(t, "concurrency: 4\nqueues: [a, b]\nmax_attempts: 7\nbuiltin: true\ndrain_timeout: 4s\n")
	fs := parse(t, RegisterWorkerFlags, "--concurrency=16", "--queue", "x", "--queue=y,z")
	w, report, err := Worker(fs, path, []string{
		"RINGMASTER_CONCURRENCY=8", "RINGMASTER_MAX_ATTEMPTS=8", "RINGMASTER_QUEUES=e", "RINGMASTER_DRAIN_TIMEOUT=",
		"RINGMASTER_NO_SUCH_THING=1", "CONCURRENCY=99", "ringmaster_name=no", "nonsense",
	})
	wantLines(t, err)
	// A typed flag counts even if it repeats the default; a variable that is empty does not.
	if w.Concurrency != 16 || w.MaxAttempts != 8 || w.DrainTimeout != 4*time.Second || w.Name != "" || w.Partitions != 64 || !w.Builtin {
		t.Errorf("worker = %+v", w)
	}
	if !slices.Equal(w.Queues, []string{"x", "y", "z"}) {
		t.Errorf("queues = %q", w.Queues)
	}
	for key, want := range map[string]string{
		"concurrency":   "flag --concurrency",
		"queues":        "flag --queue",
		"max_attempts":  "environment RINGMASTER_MAX_ATTEMPTS",
		"drain_timeout": "file " + path + ":5",
		"partitions":    "default",
	} {
		if got := report.Sources[key].String(); got != want {
			t.Errorf("source of %s = %q, want %q", key, got, want)
		}
	}
}

func TestLoadWorker_ListOfTheEnvironmentBeatsTheFile(t *testing.T) {
	w, report, err := Dev(nil, write(t, "queues: [a, b]\n"), []string{"RINGMASTER_QUEUES=c"})
	if wantLines(t, err); !slices.Equal(w.Queues, []string{"c"}) || report.Sources["queues"].Kind != configs.FromEnvironment {
		t.Errorf("queues = %q from %v", w.Queues, report.Sources["queues"])
	}
}

func TestLoad_DefaultsAreValid(t *testing.T) {
	d, _, err := Dispatcher(parse(t, RegisterDispatcherFlags), "", nil)
	wantLines(t, err)
	if d != configs.DefaultDispatcher() {
		t.Errorf("dispatcher = %+v", d)
	}
	r, _, err := Ringctl(nil, "", nil)
	wantLines(t, err)
	if r != configs.DefaultRingctl() {
		t.Errorf("ringctl = %+v", r)
	}
	_, _, err = Dev(nil, "", nil)
	wantLines(t, err)
	_, _, err = Worker(nil, "", nil)
	wantLines(t, err, "no queue to serve", "no handler")
}

func TestLoadWorker_Values(t *testing.T) {
	tests := map[string]struct {
		env   string // without the prefix
		wants string // part of the only problem; empty: accepted
	}{
		"bare number":          {"DRAIN_TIMEOUT=3", `drain_timeout = "3" (environment RINGMASTER_DRAIN_TIMEOUT): the unit is missing: write 3s`},
		"bare fraction":        {"DRAIN_TIMEOUT=0.5", "write 0.5s"},
		"bare negative":        {"DRAIN_TIMEOUT=-5", "want a duration from 0s to 24h"},
		"negative":             {"HANDLER_TIMEOUT=-5s", "want a duration from 10ms to 24h"},
		"zero":                 {"HANDLER_TIMEOUT=0", "want a duration from 10ms to 24h"},
		"zero drain":           {"DRAIN_TIMEOUT=0", ""},
		"year":                 {"BACKOFF_MAX=1y", "want a duration"},
		"absurd":               {"BACKOFF_MAX=9999999h", "want a duration from 1ms to 168h"},
		"overflow":             {"BACKOFF_MAX=99999999999h", "want a duration"},
		"nanoseconds":          {"HEARTBEAT=3ns", "want a duration from 50ms"},
		"no number":            {"CONCURRENCY=abc", `concurrency = "abc" (environment RINGMASTER_CONCURRENCY): want a whole number from 1 to 10000`},
		"zero number":          {"CONCURRENCY=0", "want a whole number"},
		"negative number":      {"CONCURRENCY=-1", "want a whole number"},
		"huge number":          {"CONCURRENCY=1e9", "want a whole number"},
		"number overflow":      {"CONCURRENCY=99999999999999999999", "want a whole number"},
		"partitions 0":         {"PARTITIONS=0", "want a whole number from 1 to 4096"},
		"partitions 1":         {"PARTITIONS=1", ""},
		"partitions 65536":     {"PARTITIONS=65536", "want a whole number from 1 to 4096"},
		"bool":                 {"JOURNAL=yes", "want true or false"},
		"name":                 {"NAME=a.b", "want a letter or digit"},
		"queue":                {"QUEUES=a,,b", `"" is no name`},
		"queues with spaces":   {"QUEUES= a , b ", ""},
		"queue twice":          {"QUEUES=a,a", `"a" is there twice`},
		"hash tag injection":   {"NAMESPACE={x}", "want a letter"},
		"log level":            {"LOG_LEVEL=trace", "want one of debug|info|warn|error"},
		"redis mode":           {"REDIS_MODE=ring", "want one of standalone|sentinel|cluster"},
		"heartbeat of a third": {"HEARTBEAT=1s", ""},
		"heartbeat above":      {"HEARTBEAT=1001ms", "heartbeat = 1.001s (environment RINGMASTER_HEARTBEAT) must be at most a third of lease_ttl = 3s (default)"},
		"base above max":       {"BACKOFF_BASE=11m", "backoff_base = 11m (environment RINGMASTER_BACKOFF_BASE) must be at most backoff_max = 10m (default)"},
		"lease from default":   {"LEASE_TTL=1s", "heartbeat = 500ms (default) must be at most a third of lease_ttl = 1s"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			env := []string{"RINGMASTER_BUILTIN=true", "RINGMASTER_QUEUES=q", "RINGMASTER_" + tc.env}
			_, _, err := Worker(nil, "", env)
			if tc.wants == "" {
				wantLines(t, err)
			} else {
				wantLines(t, err, tc.wants)
			}
		})
	}
}

func TestLoad_AllProblemsAtOnce(t *testing.T) {
	path := write(t, `drain_timout: 5s
quues: [a]
Redis: redis://h
heartbeat: 10
lease_ttl: 1ns
queues: [a, b c]
queues: [d]
token: canary
max_attempts:
name: {a: 1}
`)
	fs := parse(t, RegisterWorkerFlags, "--concurrency=many")
	_, _, err := Worker(fs, path, []string{"RINGMASTER_LOG_FORMAT=xml", "RINGMASTER_BUILTIN=true"})
	wantLines(t, err,
		path+`:1: unknown key "drain_timout": the nearest known key is "drain_timeout"`,
		path+`:2: unknown key "quues": the nearest known key is "queues"`,
		path+`:3: unknown key "Redis": the nearest known key is "redis"`,
		path+`:7: key "queues" is there twice: first in line 6`,
		path+`:8: token is a secret and does not belong into this file: use token_file or RINGMASTER_TOKEN`,
		"name (file "+path+":10): want one value, not a mapping",
		"max_attempts (file "+path+":9): the value is missing",
		`log_format = "xml" (environment RINGMASTER_LOG_FORMAT)`,
		`queues = "a,b c" (file `+path+`:6): "b c" is no name`,
		`concurrency = "many" (flag --concurrency)`,
		`heartbeat = "10" (file `+path+`:4): the unit is missing: write 10s`,
		`lease_ttl = "1ns" (file `+path+`:5)`,
	)
	if strings.Contains(err.Error(), "canary") {
		t.Error("the error quotes a secret")
	}
}

func TestLoad_Files(t *testing.T) {
	dir := t.TempDir()
	tests := map[string]struct {
		content, wants string
	}{
		"empty":          {"", ""},
		"comments alone": {"# nothing\n", ""},
		"null":           {"~\n", ""},
		"a marker":       {"---\n", ""},
		"BOM and CRLF":   {"\xef\xbb\xbfnamespace: x\r\nlog_level: warn\r\n", ""},
		"tab":            {"handlers:\n\t- type: x\n", "line 2 is indented with a tab"},
		"binary":         {"\x00\x01\x02", "not valid YAML"},
		"unclosed":       {"queues: [a\n", "not valid YAML"},
		"list":           {"- a\n", "want lines of the form key: value"},
		"text":           {"redis\n", "want lines of the form key: value"},
		"two documents":  {"namespace: x\n---\nnamespace: y\n", "a second YAML document"},
		"key of a list":  {"[a]: 1\n", "a key must be plain text"},
		"others' keys":   {"listen: 127.0.0.1:0\nhandlers: 5\nqueues: 7\n", ""},
		"too large":      {strings.Repeat("#", maxFileBytes+1), "larger than"},
		"merge key":      {"<<: {namespace: x}\n", "unknown key"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, _, err := Ringctl(nil, write(t, tc.content), nil)
			if tc.wants == "" {
				wantLines(t, err)
			} else {
				wantLines(t, err, tc.wants)
			}
		})
	}
	_, _, err := Worker(nil, dir, nil)
	wantLines(t, err, "config file "+dir+": it is a directory")
	_, _, err = Worker(nil, dir+"/none", nil)
	wantLines(t, err, "config file "+dir+"/none: no such file")
	r, _, err := Ringctl(nil, write(t, "\xef\xbb\xbfnamespace: x\r\nlog_level: warn\r\n"), nil)
	if wantLines(t, err); r.Namespace != "x" || r.LogLevel != "warn" {
		t.Errorf("BOM and CRLF: %+v", r)
	}
}

func TestFlags_Help(t *testing.T) {
	fs := parse(t, RegisterWorkerFlags)
	usage := fs.FlagUsages()
	for _, want := range []string{"--queue name", "--drain-timeout duration", "(default 30s)", "--builtin ", "--config string", "--redis string"} {
		if !strings.Contains(usage, want) {
			t.Errorf("usage lacks %q:\n%s", want, usage)
		}
	}
	for _, secret := range []string{"--token ", "--redis-password "} {
		if strings.Contains(usage, secret) {
			t.Errorf("a secret can be typed as %s", secret)
		}
	}
	if err := fs.Parse([]string{"--builtin=maybe"}); err == nil {
		t.Error("--builtin=maybe was accepted")
	}
	out := parse(t, RegisterRingctlFlags, "-o", "json")
	r, _, err := Ringctl(out, "", nil)
	if wantLines(t, err); r.Output != "json" {
		t.Errorf("output = %q", r.Output)
	}
}

func TestExamples_Load(t *testing.T) {
	w, report, err := Worker(nil, "../worker.yaml", nil)
	wantLines(t, err)
	if len(report.Warnings) > 0 || !slices.Equal(w.Queues, []string{"files"}) || len(w.Handlers) != 1 ||
		w.Handlers[0].Type != "sha256" || !slices.Equal(w.Handlers[0].Exec.Command, []string{"sha256sum", "-"}) {
		t.Errorf("worker = %+v, warnings %q", w, report.Warnings)
	}
	d, _, err := Dispatcher(nil, "../dispatcher.yaml", nil)
	wantLines(t, err)
	if d != configs.DefaultDispatcher() {
		t.Errorf("dispatcher = %+v", d)
	}
	for _, file := range []string{"../worker.yaml", "../dispatcher.yaml"} {
		v, err := Validate(file)
		wantLines(t, err)
		if want := strings.TrimSuffix(filepath.Base(file), ".yaml"); !slices.Contains(v.Programs, want) {
			t.Errorf("%s is for %q", file, v.Programs)
		}
	}
}

// TestExamples_ShowEveryKey: a setting that the example of its file does not show is not found.
func TestExamples_ShowEveryKey(t *testing.T) {
	worker, dispatcher := configs.DefaultWorker(), configs.DefaultDispatcher()
	for file, program := range map[string]configs.Settings{"../worker.yaml": &worker, "../dispatcher.yaml": &dispatcher} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range program.Fields() {
			if !f.Secret && !regexp.MustCompile(`(?m)^(# )?`+f.Key+`:`).Match(b) {
				t.Errorf("%s does not show %s", file, f.Key)
			}
		}
	}
}

// TestExamples_CommentsShowTheDefaults uncomments every key and expects no change.
func TestExamples_CommentsShowTheDefaults(t *testing.T) {
	for _, file := range []string{"../worker.yaml", "../dispatcher.yaml"} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, line := range strings.Split(string(b), "\n") {
			key, _, ok := strings.Cut(strings.TrimPrefix(line, "# "), ": ")
			if ok && strings.HasPrefix(line, "# ") && slices.Contains(allKeys(), key) && !strings.HasSuffix(key, "_file") && key != "name" {
				lines = append(lines, strings.TrimPrefix(line, "# "))
			}
		}
		if len(lines) < 10 {
			t.Fatalf("%s: only %d keys are shown", file, len(lines))
		}
		shown := write(t, strings.Join(lines, "\n"))
		w, _, err := Dev(nil, shown, nil)
		wantLines(t, err)
		d, _, err := Dispatcher(nil, shown, nil)
		wantLines(t, err)
		if d != configs.DefaultDispatcher() {
			t.Errorf("%s shows other values than the defaults: %+v", file, d)
		}
		standard := configs.DefaultWorker()
		for i, row := range configs.View(&w, nil) {
			if want := configs.View(&standard, nil)[i]; row != want {
				t.Errorf("%s shows %s: %s, the default is %q", file, row.Key, row.Value, want.Value)
			}
		}
	}
}

// TestLoad_MisspeltVariables: what is much like a setting's name has no effect, and is told so; other
// variables are other programs'.
func TestLoad_MisspeltVariables(t *testing.T) {
	for text, want := range map[string]string{
		"RINGMASTER_CONCURENCY=3": "the variable RINGMASTER_CONCURENCY has no effect: did you mean RINGMASTER_CONCURRENCY?",
		"RINGMASTER_TOKENFILE=x":  "did you mean RINGMASTER_TOKEN_FILE?",
		"RINGMASTER_QUEUE=q":      "did you mean RINGMASTER_QUEUES?",
		"RINGMASTER_CONCURENCY=":  "", "RINGMASTER_LISTEN=a:1": "", "RINGMASTER_NO_SUCH_THING=1": "", "RINGMASTER_TEST_REDIS_SERVER=x": "", "CONCURENCY=1": "",
		"RINGMASTER_QUEUE=q RINGMASTER_JOB_ID=1-2-3": "", "RINGMASTER_REDIS_PASSWORD=x": "",
	} {
		_, report, err := Ringctl(nil, "", strings.Fields(text))
		wantLines(t, err)
		if got := strings.Join(report.Warnings, "\n"); (got != "") != (want != "") || !strings.Contains(got, want) {
			t.Errorf("%s: warned %q, want %q", text, got, want)
		}
	}
}
