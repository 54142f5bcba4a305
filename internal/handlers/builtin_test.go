package handlers

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"ringmaster/configs"
	"ringmaster/job"
)

func TestBuiltin_Outcome(t *testing.T) {
	tests := map[string]struct {
		typ, payload string
		attempt      int
		result       string
		fails, dead  bool
		takes        time.Duration
	}{
		"echo":                 {typ: "echo", payload: `{"a":[1]}`, result: `{"a":[1]}`},
		"echo nothing":         {typ: "echo"},
		"sleep":                {typ: "sleep", payload: `"250ms"`, takes: 250 * time.Millisecond},
		"sleep zero":           {typ: "sleep", payload: `"0s"`},
		"sleep bare number":    {typ: "sleep", payload: `3`, fails: true, dead: true},
		"sleep no unit":        {typ: "sleep", payload: `"3"`, fails: true, dead: true},
		"sleep negative":       {typ: "sleep", payload: `"-1s"`, fails: true, dead: true},
		"sleep nothing":        {typ: "sleep", fails: true, dead: true},
		"sleep null":           {typ: "sleep", payload: `null`, fails: true, dead: true},
		"fail first of two":    {typ: "fail", payload: `2`, attempt: 1, fails: true},
		"fail second of two":   {typ: "fail", payload: `2`, attempt: 2, fails: true},
		"fail third passes":    {typ: "fail", payload: `2`, attempt: 3},
		"fail none":            {typ: "fail", payload: `0`, attempt: 1},
		"fail null":            {typ: "fail", payload: `null`, attempt: 1, fails: true, dead: true},
		"fail text":            {typ: "fail", payload: `"x"`, attempt: 1, fails: true, dead: true},
		"fail negative number": {typ: "fail", payload: `-1`, attempt: 1, fails: true, dead: true},
		"fail nothing":         {typ: "fail", attempt: 1, fails: true, dead: true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := delivery(tc.payload)
				d.Attempt = tc.attempt
				start := time.Now()
				got, err := Builtin()[tc.typ](t.Context(), d)
				if time.Since(start) != tc.takes {
					t.Errorf("took %v, want %v", time.Since(start), tc.takes)
				}
				dead, _ := job.Verdict(err)
				if (err != nil) != tc.fails || dead != tc.dead {
					t.Errorf("error = %v, dead = %v; want failure %v, dead %v", err, dead, tc.fails, tc.dead)
				}
				if string(got) != tc.result {
					t.Errorf("result = %s, want %s", got, tc.result)
				}
			})
		})
	}
}

func TestBuiltin_SleepEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, job.ErrStopping)
		defer cancel()
		start := time.Now()
		_, err := Builtin()["sleep"](ctx, delivery(`"1h"`))
		if !errors.Is(err, job.ErrStopping) || time.Since(start) != time.Second {
			t.Errorf("error = %v after %v", err, time.Since(start))
		}
	})
}

func TestBuiltin_AgreesWithConfiguration(t *testing.T) {
	if names := slices.Sorted(maps.Keys(Builtin())); !slices.Equal(names, configs.BuiltinTypes()) {
		t.Errorf("built in: %v, configs says %v", names, configs.BuiltinTypes())
	}
}

func TestBuild(t *testing.T) {
	w := configs.DefaultWorker()
	w.HandlerTimeout = time.Second
	w.Builtin = true
	w.Handlers = []configs.Handler{
		{Type: "cat", Exec: &configs.Exec{Command: []string{"cat"}}},
		{Type: "slow", Exec: &configs.Exec{Command: []string{"sleep", "300"}, Timeout: 20 * time.Millisecond}},
		{Type: "post", HTTP: &configs.HTTP{URL: "http://127.0.0.1:1/"}},
	}
	funcs := Build(w, nil)
	if names := slices.Sorted(maps.Keys(funcs)); !slices.Equal(names, []string{"cat", "echo", "fail", "post", "sleep", "slow"}) {
		t.Errorf("types: %v", names)
	}
	if got, err := funcs["cat"](t.Context(), delivery(`"x"`)); err != nil || string(got) != `"x"` {
		t.Errorf("cat = %s, %v", got, err)
	}
	if _, err := funcs["slow"](t.Context(), delivery("")); !errors.Is(err, job.ErrTimeout) {
		t.Errorf("slow: error = %v, want its own timeout", err)
	}
	synctest.Test(t, func(t *testing.T) {
		if _, err := funcs["sleep"](t.Context(), delivery(`"1h"`)); !errors.Is(err, job.ErrTimeout) {
			t.Errorf("sleep: error = %v, want the worker's timeout", err)
		}
	})
}

func TestResult_IsAlwaysValidJSON(t *testing.T) {
	for _, in := range []string{"\xed\xa0\x80", "\x00", "\u2028", `{"a":1}{"b":2}`, "  ", "nul", `"a`, "\r\n"} {
		got, err := result([]byte(in), 1<<20)
		if err != nil || !json.Valid(got) {
			t.Errorf("result(%q) = %q, %v", in, got, err)
		}
	}
}
