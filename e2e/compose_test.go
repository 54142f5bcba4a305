package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"ringmaster/internal/redistest"
)

// container is what the test needs of a service in docker-compose.yml.
type container struct {
	Image       string            `yaml:"image"`
	Command     []string          `yaml:"command"`
	Environment map[string]string `yaml:"environment"`
	Healthcheck struct {
		Test []string `yaml:"test"`
	} `yaml:"healthcheck"`
}

// TestComposeServices runs the command of every service of docker-compose.yml as a
// process, with the addresses and paths of this machine, and gets a job done.
func TestComposeServices(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(root, "docker-compose.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Services map[string]container `yaml:"services"`
	}
	if err := yaml.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	bin := buildPrograms(ctx, t, root)
	if got := file.Services["redis"].Command; strings.Join(got, " ") != "redis-server /etc/redis/redis.conf" {
		t.Fatalf("the redis service runs %q", got)
	}
	server := redistest.Real(t, append(serverSettings(t, filepath.Join(root, "configs", "redis.conf")), "--logfile", "")...)
	replace := strings.NewReplacer("redis://redis:6379", server.URL(), "/etc/ringmaster/", filepath.Join(root, "configs")+"/",
		"/usr/local/bin/worker", filepath.Join(bin, "worker"), "/dispatcher", filepath.Join(bin, "dispatcher"))
	counts := map[string]int{}
	var checks []*exec.Cmd
	for name, s := range file.Services {
		if name == "redis" {
			continue
		}
		program := strings.TrimPrefix(s.Image, "ringmaster-")
		counts[program]++
		env := append(os.Environ(), "HOME="+t.TempDir())
		for k, v := range s.Environment {
			if k == "RINGMASTER_LISTEN" {
				if v != "0.0.0.0:7070" {
					t.Errorf("%s listens on %s", name, v)
				}
				v = "127.0.0.1:" + freePort(t)
			}
			env = append(env, k+"="+replace.Replace(strings.NewReplacer("${RINGMASTER_TOKEN:-", "", "}", "").Replace(v)))
		}
		start(t, name, filepath.Join(bin, program), replaceAll(replace, s.Command), env)
		if len(s.Healthcheck.Test) < 2 || s.Healthcheck.Test[0] != "CMD" {
			t.Fatalf("%s: health check %q", name, s.Healthcheck.Test)
		}
		check := exec.CommandContext(ctx, replace.Replace(s.Healthcheck.Test[1]), replaceAll(replace, s.Healthcheck.Test[2:])...)
		check.Env = env
		checks = append(checks, check)
	}
	if counts["dispatcher"] != 2 || counts["worker"] != 3 {
		t.Fatalf("services: %v", counts)
	}
	for _, c := range checks {
		healthy(ctx, t, c)
	}
	submit := exec.CommandContext(ctx, filepath.Join(bin, "ringctl"), "submit", "files", "--type", "sha256", "--key", "k", "--payload", "abc", "--redis", server.URL())
	id, err := submit.Output()
	if err != nil {
		t.Fatalf("submit: %v", err)
	}
	out, err := exec.CommandContext(ctx, filepath.Join(bin, "ringctl"), "job", "wait", "files", strings.TrimSpace(string(id)), "-o", "json", "--redis", server.URL()).Output()
	if err != nil {
		t.Fatalf("wait: %v: %s", err, out)
	}
	var st struct{ State, Result string }
	if err := json.Unmarshal(out, &st); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	sum := sha256.Sum256([]byte("abc"))
	if want := hex.EncodeToString(sum[:]); st.State != "completed" || !strings.HasPrefix(st.Result, want) {
		t.Errorf("job: %+v, want %s", st, want)
	}
}

func buildPrograms(ctx context.Context, t *testing.T, root string) string {
	t.Helper()
	bin := t.TempDir()
	cmd := exec.CommandContext(ctx, "go", "build", "-o", bin+"/", "./cmd/dispatcher", "./cmd/worker", "./cmd/ringctl")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return bin
}

// serverSettings turns a redis.conf into arguments, without what names a place.
func serverSettings(t *testing.T, path string) []string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var args []string
	for line := range strings.Lines(string(raw)) {
		f := strings.Fields(line)
		if len(f) < 2 || strings.HasPrefix(f[0], "#") {
			continue
		}
		switch f[0] {
		case "bind", "dir", "port", "protected-mode", "logfile":
			continue
		}
		args = append(args, "--"+f[0])
		for _, v := range f[1:] {
			args = append(args, strings.Trim(v, `"`))
		}
	}
	return args
}

func replaceAll(r *strings.Replacer, args []string) []string {
	out := make([]string, len(args))
	for i, a := range args {
		out[i] = r.Replace(a)
	}
	return out
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
}

// start runs a program until the test ends, then stops it gracefully.
func start(t *testing.T, name, path string, args, env []string) {
	t.Helper()
	var out strings.Builder
	cmd := exec.Command(path, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = env, &out, &out
	dieWithParent(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out.String())
		} else if t.Failed() {
			t.Logf("%s\n%s", name, out.String())
		}
	})
}

// healthy repeats a health check until it passes.
func healthy(ctx context.Context, t *testing.T, check *exec.Cmd) {
	t.Helper()
	for {
		again := exec.CommandContext(ctx, check.Path, check.Args[1:]...)
		again.Env = check.Env
		out, err := again.CombinedOutput()
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("health check %q: %v: %s", check.Args, err, out)
		}
		<-time.After(100 * time.Millisecond)
	}
}
