package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"ringmaster/internal/faultproxy"
)

// network is a link of its own to the server: a network namespace with a pair of virtual
// devices, or, where that is not permitted, a proxy that falls silent.
type network struct {
	name, device, peer string
	proxy              *faultproxy.Proxy
	real               bool
}

const networkPrefix = "ringmaster-chaos-"

// newNetwork makes one to the ring's server. The caller closes it after its processes.
func newNetwork(ctx context.Context, r *Rig) (*network, error) {
	sweepNetworks(ctx)
	r.names++
	pid, k := os.Getpid(), r.names
	n := &network{name: fmt.Sprint(networkPrefix, pid, "-", k), device: fmt.Sprintf("rmc%dv%d", pid%100000, k%1000)}
	net := fmt.Sprintf("10.%d.%d.", 200+pid/256%50, pid%256)
	host := net + strconv.Itoa(k%64*4+1)
	n.peer = net + strconv.Itoa(k%64*4+2)
	inside := n.device + "i"
	err := n.ip(ctx, "netns", "add", n.name)
	for _, args := range [][]string{
		{"link", "add", n.device, "type", "veth", "peer", "name", inside, "netns", n.name},
		{"addr", "add", host + "/30", "dev", n.device},
		{"link", "set", n.device, "up"},
		{"-n", n.name, "addr", "add", n.peer + "/30", "dev", inside},
		{"-n", n.name, "link", "set", inside, "up"},
		{"-n", n.name, "link", "set", "lo", "up"},
	} {
		if err == nil {
			err = n.ip(ctx, args...)
		}
	}
	n.real = err == nil
	if err != nil {
		r.Logf("no network namespaces here, a silent proxy instead: %v", err)
		_ = n.ip(ctx, "netns", "del", n.name)
		host = "127.0.0.1"
	}
	target := strings.TrimPrefix(r.url, "redis://")
	if n.proxy, err = faultproxy.Start(host+":0", target); err != nil {
		n.Close()
		return nil, fmt.Errorf("start proxy: %w", err)
	}
	return n, nil
}

func (n *network) ip(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, "ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// Start starts a process whose only way to the server is this network.
func (n *network) Start(r *Rig, kind string) (*Proc, error) {
	var prefix []string
	if n.real {
		prefix = []string{"ip", "netns", "exec", n.name}
	}
	return r.Start(kind, func(role *Role) { role.URL = n.proxy.URL() }, prefix...)
}

// Down lets nothing through, in either direction, until Up. Connections stay.
func (n *network) Down(ctx context.Context) error {
	if !n.real {
		n.proxy.Silence(true, true)
		return nil
	}
	return n.ip(ctx, "link", "set", n.device, "down")
}

// Deaf lets through what the process sends and nothing that it is sent, until Up.
func (n *network) Deaf(ctx context.Context) error {
	if !n.real {
		n.proxy.Silence(false, true)
		return nil
	}
	return n.ip(ctx, "route", "replace", "blackhole", n.peer+"/32")
}

// Up ends Down and Deaf.
func (n *network) Up(ctx context.Context) error {
	if !n.real {
		n.proxy.Silence(false, false)
		return nil
	}
	_ = n.ip(ctx, "route", "del", "blackhole", n.peer+"/32") // there is none after Down
	return n.ip(ctx, "link", "set", n.device, "up")
}

// Close removes it.
func (n *network) Close() {
	ctx := context.Background()
	if n.proxy != nil {
		n.proxy.Close()
	}
	if n.real {
		_ = n.ip(ctx, "route", "del", "blackhole", n.peer+"/32")
		_ = n.ip(ctx, "netns", "del", n.name)
		_ = n.ip(ctx, "link", "del", n.device) // as a rule it went with its peer
	}
}

// sweepNetworks removes what runs left behind that were killed.
func sweepNetworks(ctx context.Context) {
	out, err := exec.CommandContext(ctx, "ip", "netns", "list").Output()
	if err != nil {
		return
	}
	for line := range strings.Lines(string(out)) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		rest, ok := strings.CutPrefix(name, networkPrefix)
		owner, _, _ := strings.Cut(rest, "-")
		pid, err := strconv.Atoi(owner)
		if ok && err == nil && syscall.Kill(pid, 0) != nil {
			_ = exec.CommandContext(ctx, "ip", "netns", "del", name).Run()
		}
	}
}
