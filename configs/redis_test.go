package configs

import (
	"strings"
	"testing"
)

func TestRedactURL(t *testing.T) {
	for in, want := range map[string]string{
		"redis://h:1/2":                    "redis://h:1/2",
		"redis://u:p@h":                    "redis://***@h",
		"redis://:a@b/c?d#e@h:1":           "redis://***@h:1",
		"redis://:p@a,redis://:q@b":        "redis://***@b",
		"p@h":                              "***@h",
		"redis://h?password=p":             "redis://h?***",
		"redis://h?master_name=m&pass=p":   "redis://h?***",
		"redis://h?master_name=m":          "redis://h?master_name=m",
		"redis://a,b?pass=p?master_name=m": "redis://a,b?***",
	} {
		if got := RedactURL(in); got != want {
			t.Errorf("RedactURL(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzRedisURL(f *testing.F) {
	for _, s := range []string{"redis://127.0.0.1:6379", "rediss://u:p%40@h:1/2", "redis://", "redis://h:0", "redis://h:70000", "redis://h/-1", "redis://h/99",
		"redis://u@h", "redis://:a@:/%@h", "unix:///x", "h:1", "redis://h:1,redis://h:2", "redis://h?x=1", "redis://[::1]:1"} {
		f.Add(s, "standalone")
		f.Add(s, "cluster")
	}
	f.Fuzz(func(t *testing.T, raw, mode string) {
		e, err := parseRedis(raw, mode)
		if err != nil {
			if password := passwordOf(raw); len(password) > 8 && strings.Contains(err.Error(), password) {
				t.Fatalf("the password is shown: %v", err)
			}
			return
		}
		if len(e.Addrs) == 0 {
			t.Fatalf("%q has no address", raw)
		}
		if shown := RedactURL(raw); e.Password != "" && len(e.Password) > 8 && strings.Contains(shown, string(e.Password)) {
			t.Fatalf("%q is shown as %q", raw, shown)
		}
	})
}

func passwordOf(raw string) string {
	before, _, ok := strings.Cut(raw, "@")
	if i := strings.LastIndexByte(before, ':'); ok && i >= 0 {
		return before[i+1:]
	}
	return ""
}
