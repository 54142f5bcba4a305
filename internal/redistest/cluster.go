package redistest

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ringmaster/internal/redisproc"
)

// Sentinels start three sentinels that watch primary as "main" and promote a replica when
// it has been down for half a second. It returns their addresses; they end with the test.
func Sentinels(t testing.TB, primary *Server) []string { return GuardedSentinels(t, primary, "", "") }

// GuardedSentinels are Sentinels that want a password of their own, of a primary that wants another.
// Empty: none.
func GuardedSentinels(t testing.TB, primary *Server, own, primarys string) []string {
	t.Helper()
	_, watched, err := net.SplitHostPort(primary.Addr())
	if err != nil {
		t.Fatal(err)
	}
	addrs := make([]string, 3)
	for i := range addrs {
		p := strconv.Itoa(port(t))
		addrs[i] = "127.0.0.1:" + p
		dir := t.TempDir()
		conf := filepath.Join(dir, "sentinel.conf")
		text := "port " + p + "\nbind 127.0.0.1\ndir " + dir + "\nlogfile " + filepath.Join(dir, "log") + "\nsentinel monitor main 127.0.0.1 " + watched +
			" 2\nsentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n"
		if primarys != "" {
			text += "sentinel auth-pass main " + primarys + "\n"
		}
		if own != "" {
			text += "requirepass " + own + "\nsentinel sentinel-pass " + own + "\n"
		}
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), redisproc.Binary(), conf, "--sentinel") // the context ends before the clean-up
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Wait() })
	}
	for _, addr := range addrs {
		wait(t, "a sentinel knows the others and the replicas", func() bool {
			out := ctlAs(own, addr, "SENTINEL", "MASTER", "main")
			return strings.Contains(out, "num-other-sentinels\n2\n") && !strings.Contains(out, "num-slaves\n0\n")
		})
	}
	return addrs
}

// Address is a server that somebody else runs.
type Address string

// Addr is the address.
func (a Address) Addr() string { return string(a) }

// Replica starts a server that follows primary and has caught up when Replica returns.
func Replica(t testing.TB, primary interface{ Addr() string }, extraArgs ...string) *Server {
	t.Helper()
	s := Real(t, append(extraArgs, "--replicaof", strings.Replace(primary.Addr(), ":", " ", 1))...)
	wait(t, "the replica has caught up", func() bool {
		return strings.Contains(ctl(s.Addr(), "INFO", "replication"), "master_link_status:up")
	})
	return s
}

// Cluster starts a Redis Cluster of three primaries, each with a replica: servers i and i+3.
// A primary that is down for two seconds is replaced.
func Cluster(t testing.TB, extraArgs ...string) []*Server {
	t.Helper()
	args := append(extraArgs, "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-node-timeout", "2000",
		"--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0")
	servers, buses := make([]*Server, 6), make([]string, 6)
	for i := range servers {
		buses[i] = strconv.Itoa(port(t))
		servers[i] = Real(t, append(args, "--cluster-port", buses[i])...)
	}
	ids := make([]string, len(servers))
	for i, s := range servers {
		ids[i] = strings.TrimSpace(ctl(s.Addr(), "CLUSTER", "MYID"))
		ctl(s.Addr(), "CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1))
	}
	for i, s := range servers {
		if i < 3 {
			ctl(s.Addr(), "CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(i*5461), strconv.Itoa([]int{5460, 10921, 16383}[i]))
		}
		ctl(servers[(i+1)%6].Addr(), "CLUSTER", "MEET", "127.0.0.1", strings.TrimPrefix(s.Addr(), "127.0.0.1:"), buses[i])
	}
	for _, s := range servers {
		wait(t, "the cluster knows its servers", func() bool { return strings.Count(ctl(s.Addr(), "CLUSTER", "NODES"), "connected") == 6 })
	}
	for i := 3; i < 6; i++ {
		ctl(servers[i].Addr(), "CLUSTER", "REPLICATE", ids[i-3])
	}
	for _, s := range servers {
		wait(t, "the cluster is whole", func() bool {
			return strings.Contains(ctl(s.Addr(), "CLUSTER", "INFO"), "cluster_state:ok") && strings.Count(ctl(s.Addr(), "CLUSTER", "NODES"), "slave") == 3
		})
	}
	for _, s := range servers[3:] {
		wait(t, "a replica has caught up", func() bool {
			return strings.Contains(ctl(s.Addr(), "INFO", "replication"), "master_link_status:up")
		})
	}
	return servers
}

// Joined starts a server without slots in the cluster of all others. It returns when each knows it.
func Joined(t testing.TB, others []*Server) *Server {
	t.Helper()
	bus := strconv.Itoa(port(t))
	s := Real(t, "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-node-timeout", "2000", "--cluster-port", bus)
	ctl(others[0].Addr(), "CLUSTER", "MEET", "127.0.0.1", strings.TrimPrefix(s.Addr(), "127.0.0.1:"), bus)
	for _, one := range append([]*Server{s}, others...) {
		wait(t, "all servers know each other", func() bool {
			return strings.Count(ctl(one.Addr(), "CLUSTER", "NODES"), " connected") == len(others)+1 && strings.Contains(ctl(one.Addr(), "CLUSTER", "INFO"), "cluster_state:ok")
		})
	}
	return s
}

// Primaries starts a Redis Cluster of n primaries without replicas that hold an equal part of
// the given keys' slots each.
func Primaries(t testing.TB, n int, keys ...string) []*Server {
	t.Helper()
	servers, buses := make([]*Server, n), make([]string, n)
	for i := range servers {
		buses[i] = strconv.Itoa(port(t))
		servers[i] = Real(t, "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-port", buses[i])
		ctl(servers[i].Addr(), "CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1))
	}
	slots := make([]int, len(keys))
	for i, key := range keys {
		slots[i], _ = strconv.Atoi(strings.TrimSpace(ctl(servers[0].Addr(), "CLUSTER", "KEYSLOT", key)))
	}
	slices.Sort(slots)
	first := 0
	for i, s := range servers {
		last := 16383
		if i < n-1 {
			last = slots[(i+1)*len(slots)/n-1]
		}
		ctl(s.Addr(), "CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(first), strconv.Itoa(last))
		first = last + 1
		ctl(servers[(i+1)%n].Addr(), "CLUSTER", "MEET", "127.0.0.1", strings.TrimPrefix(s.Addr(), "127.0.0.1:"), buses[i])
	}
	for _, s := range servers {
		wait(t, "the cluster is whole", func() bool {
			return strings.Contains(ctl(s.Addr(), "CLUSTER", "INFO"), "cluster_state:ok") && strings.Count(ctl(s.Addr(), "CLUSTER", "NODES"), "connected") == n
		})
	}
	return servers
}

// Narrow starts a Redis Cluster of three primaries without replicas: the first holds the slots of the keys
// and no others, the third none. See redisproc.
func Narrow(t testing.TB, keys ...string) []*Server {
	t.Helper()
	c, err := redisproc.StartCluster(t.Context(), redisproc.Options{Dir: t.TempDir()}, keys...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	var servers []*Server
	for _, p := range c.Nodes {
		servers = append(servers, &Server{Server: p, t: t})
	}
	return servers
}

func port(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("choose a port: %v", err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

// startTimeout is for a machine that is very busy.
const startTimeout = 30 * time.Second

func wait(t testing.TB, what string, fact func() bool) {
	t.Helper()
	over := time.NewTimer(startTimeout)
	defer over.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !fact() {
		select {
		case <-tick.C:
		case <-over.C:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// ctl asks with redis-cli, which comes with the server; an answer that never came is "".
func ctl(addr string, args ...string) string { return ctlAs("", addr, args...) }

// ctlAs gives a password, if it is not empty.
func ctlAs(password, addr string, args ...string) string {
	host, p, err := net.SplitHostPort(addr)
	if err != nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "redis-cli", append([]string{"-h", host, "-p", p}, args...)...)
	if password != "" {
		cmd.Env = append(os.Environ(), "REDISCLI_AUTH="+password)
	}
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	return strings.ReplaceAll(string(out), "\r", "")
}
