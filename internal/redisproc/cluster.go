package redisproc

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Cluster is a Redis Cluster of three primaries without replicas. The first holds the slots of some
// keys and no others, the second the rest, the third none: what is to move can be moved soon. Its
// methods are for one goroutine at a time.
type Cluster struct{ Nodes []*Server }

// StartCluster starts one and waits until it is whole. Close ends it.
func StartCluster(ctx context.Context, o Options, keys ...string) (*Cluster, error) {
	c := &Cluster{}
	if err := c.start(ctx, o, keys); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context, o Options, keys []string) error {
	var buses []string
	for i := range 3 {
		port, err := freePort(ctx)
		if err != nil {
			return err
		}
		buses = append(buses, strconv.Itoa(port))
		own := o
		own.Dir = filepath.Join(o.Dir, fmt.Sprintf("node%d", i))
		own.Args = append([]string{"--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-port", buses[i],
			"--cluster-node-timeout", "2000", "--cluster-allow-replica-migration", "no",
			// redis-cli compares a key that a broken move has left at both servers.
			"--enable-debug-command", "local"}, o.Args...)
		s, err := Start(ctx, own)
		if err != nil {
			return err
		}
		c.Nodes = append(c.Nodes, s)
	}
	var slots []int
	for _, key := range keys {
		slot, err := c.do(ctx, 0, "CLUSTER", "KEYSLOT", key)
		if err != nil {
			return err
		}
		n, _ := strconv.Atoi(slot) // it is an integer
		slots = append(slots, n)
	}
	slices.Sort(slots)
	home, rest := []any{"CLUSTER", "ADDSLOTSRANGE"}, []any{"CLUSTER", "ADDSLOTSRANGE"}
	next := 0
	for _, slot := range append(slices.Compact(slots), 16384) {
		if next < slot {
			rest = append(rest, next, slot-1)
		}
		if slot < 16384 {
			home = append(home, slot, slot)
		}
		next = slot + 1
	}
	for i := range c.Nodes { // before one knows another
		if _, err := c.do(ctx, i, "CLUSTER", "SET-CONFIG-EPOCH", i+1); err != nil {
			return err
		}
	}
	for i, s := range c.Nodes {
		_, port, _ := strings.Cut(s.Addr(), ":")
		if _, err := c.do(ctx, (i+1)%3, "CLUSTER", "MEET", "127.0.0.1", port, buses[i]); err != nil {
			return err
		}
	}
	for i, args := range [][]any{home, rest} {
		if _, err := c.do(ctx, i, args...); err != nil {
			return err
		}
	}
	return c.Whole(ctx)
}

// Close ends all servers.
func (c *Cluster) Close() {
	for _, s := range c.Nodes {
		_ = s.Kill() // nothing is left of a server that does not end
	}
}

// URL names all servers, as the setting redis does.
func (c *Cluster) URL() string { return "redis://" + strings.Join(c.Addrs(), ",") }

// Addrs are host:port of all servers.
func (c *Cluster) Addrs() (out []string) {
	for _, s := range c.Nodes {
		out = append(out, s.Addr())
	}
	return out
}

// Whole waits until every server knows the two others, and that all slots are served.
func (c *Cluster) Whole(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for i := 0; i < len(c.Nodes); {
		info, err1 := c.do(ctx, i, "CLUSTER", "INFO")
		nodes, err2 := c.do(ctx, i, "CLUSTER", "NODES")
		if err := errors.Join(err1, err2); err == nil && strings.Contains(info, "cluster_state:ok") && strings.Count(nodes, " connected") == len(c.Nodes) {
			i++
			continue
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return fmt.Errorf("the cluster is not whole: %w\n%s%s", context.Cause(ctx), info, nodes)
		}
	}
	return nil
}

// Slots is how many slots a server holds by its own account, and whether one of them is on its way.
func (c *Cluster) Slots(ctx context.Context, node int) (n int, moving bool, err error) {
	text, err := c.do(ctx, node, "CLUSTER", "NODES")
	if err != nil {
		return 0, false, err
	}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 8 || !strings.Contains(f[2], "myself") {
			continue
		}
		for _, r := range f[8:] {
			first, last, ranged := strings.Cut(r, "-")
			a, err := strconv.Atoi(first)
			if err != nil { // [slot->-node]
				moving = true
				continue
			}
			b := a
			if ranged {
				b, _ = strconv.Atoi(last)
			}
			n += b - a + 1
		}
	}
	return n, moving, nil
}

// Keys is how many keys a server has.
func (c *Cluster) Keys(ctx context.Context, node int) (int, error) {
	text, err := c.do(ctx, node, "DBSIZE")
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(text)
	return n, err
}

// Reshard has redis-cli move n slots, with load on them or not.
func (c *Cluster) Reshard(ctx context.Context, from, to, n int) error {
	a, err := c.do(ctx, from, "CLUSTER", "MYID")
	if err != nil {
		return err
	}
	b, err := c.do(ctx, to, "CLUSTER", "MYID")
	if err != nil {
		return err
	}
	return c.cli(ctx, "reshard", c.Nodes[from].Addr(), "--cluster-from", a, "--cluster-to", b, "--cluster-slots", strconv.Itoa(n), "--cluster-yes")
}

// Fix has redis-cli end what a Reshard left half done.
func (c *Cluster) Fix(ctx context.Context) error { return c.cli(ctx, "fix", c.Nodes[0].Addr()) }

func (c *Cluster) cli(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, "redis-cli", append([]string{"--cluster"}, args...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("redis-cli --cluster %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

func (c *Cluster) do(ctx context.Context, node int, args ...any) (string, error) {
	client := c.Nodes[node].Client()
	defer func() { _ = client.Close() }()
	out, err := client.Do(ctx, args...).Result()
	if err != nil {
		return "", fmt.Errorf("%v at server %d of the cluster: %w", args[0], node, err)
	}
	return fmt.Sprint(out), nil
}
