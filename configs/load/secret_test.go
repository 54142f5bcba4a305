package load

import (
	"os"
	"strings"
	"testing"

	"ringmaster/configs"
)

const canary = "canary-7f3a9c51e2"

func TestLoadDispatcher_TokenSources(t *testing.T) {
	file := write(t, canary+"\r\n")
	other := write(t, "other-token-0123456789\n")
	conf := write(t, "token_file: "+file+"\n")
	tests := map[string]struct {
		args, env []string
		file      string
		token     string
		from      configs.Kind
		wants     string
	}{
		"none":                        {},
		"environment":                 {env: []string{"RINGMASTER_TOKEN=" + canary}, token: canary, from: configs.FromEnvironment},
		"file named in a file":        {file: conf, token: canary, from: configs.FromFile},
		"file named by a variable":    {env: []string{"RINGMASTER_TOKEN_FILE=" + file}, token: canary, from: configs.FromEnvironment},
		"flag beats the environment":  {args: []string{"--token-file", file}, env: []string{"RINGMASTER_TOKEN=bbbbbbbbbbbbbbbbbbbb"}, token: canary, from: configs.FromFlag},
		"environment beats the file":  {file: write(t, "token_file: "+other+"\n"), env: []string{"RINGMASTER_TOKEN=" + canary}, token: canary, from: configs.FromEnvironment},
		"both in the environment":     {env: []string{"RINGMASTER_TOKEN=" + canary, "RINGMASTER_TOKEN_FILE=" + file}, wants: "RINGMASTER_TOKEN and RINGMASTER_TOKEN_FILE are both set"},
		"missing file":                {args: []string{"--token-file", "/no/such"}, wants: `token_file = "/no/such" (flag --token-file): no such file`},
		"directory":                   {args: []string{"--token-file", t.TempDir()}, wants: "it is a directory"},
		"empty file":                  {args: []string{"--token-file", write(t, "\n")}, wants: "it is empty"},
		"two lines":                   {args: []string{"--token-file", write(t, canary+"\n"+canary+"\n")}, wants: "want visible ASCII"},
		"a space, in the environment": {env: []string{"RINGMASTER_TOKEN=" + canary + " " + canary}, wants: "token (environment RINGMASTER_TOKEN): want visible ASCII"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			d, report, err := Dispatcher(parse(t, RegisterDispatcherFlags, tc.args...), tc.file, tc.env)
			if err != nil && strings.Contains(err.Error(), canary) {
				t.Error("the error shows the token")
			}
			if tc.wants != "" {
				wantLines(t, err, tc.wants)
				return
			}
			wantLines(t, err)
			if string(d.Token) != tc.token || report.Sources["token"].Kind != tc.from || len(report.Warnings) > 0 {
				t.Errorf("token = %q from %v, warnings %q", string(d.Token), report.Sources["token"], report.Warnings)
			}
		})
	}
}

func TestLoadDispatcher_Warnings(t *testing.T) {
	file := write(t, canary)
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	_, report, err := Dispatcher(parse(t, RegisterDispatcherFlags, "--token-file", file, "--redis=redis://:"+canary+"@h"), "", nil)
	wantLines(t, err)
	if len(report.Warnings) != 2 || !strings.Contains(report.Warnings[0], "--redis holds a password") ||
		!strings.Contains(report.Warnings[1], "mode 0644") || strings.Contains(strings.Join(report.Warnings, ""), canary) {
		t.Errorf("warnings = %q", report.Warnings)
	}
	_, report, err = Dispatcher(nil, "", []string{"RINGMASTER_TOKEN=short"})
	wantLines(t, err)
	if len(report.Warnings) != 1 || !strings.Contains(report.Warnings[0], "16 characters") {
		t.Errorf("warnings = %q", report.Warnings)
	}
}

func TestLoadDispatcher_Listen(t *testing.T) {
	needsToken := "an address beyond loopback needs a token"
	tests := map[string]struct{ token, wants string }{
		"127.0.0.1:0":           {},
		"127.9.9.9:1":           {},
		"localhost:7070":        {},
		"[::1]:7070":            {},
		"0.0.0.0:7070":          {wants: needsToken},
		":7070":                 {wants: needsToken},
		"[::]:7070":             {wants: needsToken},
		"192.168.1.2:7070":      {wants: needsToken},
		"example.com:7070":      {wants: needsToken},
		"10.0.0.1:7070":         {token: canary},
		"7070":                  {wants: "want host:port"},
		"127.0.0.1":             {wants: "want host:port"},
		"127.0.0.1:70000":       {wants: "want a port"},
		"127.0.0.1:http":        {wants: "want a port"},
		"http://127.0.0.1:7070": {wants: "want host:port"},
		"::1:7070":              {wants: "want host:port"},
	}
	for listen, tc := range tests {
		t.Run(listen, func(t *testing.T) {
			_, _, err := Dispatcher(nil, "", []string{"RINGMASTER_LISTEN=" + listen, "RINGMASTER_TOKEN=" + tc.token})
			if tc.wants == "" {
				wantLines(t, err)
			} else {
				wantLines(t, err, tc.wants)
			}
		})
	}
}

func TestLoadDispatcher_DetectInterval(t *testing.T) {
	_, _, err := Dispatcher(nil, "", []string{"RINGMASTER_DETECT_INTERVAL=1100ms"})
	wantLines(t, err, "detect_interval = 1.1s (environment RINGMASTER_DETECT_INTERVAL) must be at most a third of lease_ttl = 3s (default)")
}
