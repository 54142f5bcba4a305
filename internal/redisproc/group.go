package redisproc

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"ringmaster/internal/faultproxy"
)

// Group is a primary and its replicas. Its methods are for one goroutine at a time.
type Group struct {
	Nodes []*Node
	// Front is an address that follows the primary, as a virtual address does.
	Front *faultproxy.Pipe

	primary int
}

// Node is one server of a group.
type Node struct {
	*Server
	// Link is the way from this node to its primary: cut, or slow. Its own clients do not
	// use it.
	Link *faultproxy.Pipe
}

// StartGroup starts a primary and n replicas, each in a directory of its own below that of
// the options, and waits until the replicas follow. Close ends them.
func StartGroup(ctx context.Context, n int, o Options) (*Group, error) {
	g := &Group{}
	for i := range n + 1 {
		own := o
		own.Dir = filepath.Join(o.Dir, fmt.Sprintf("node%d", i))
		// A replica that was cut off follows again at once, and no full copy waits for others.
		own.Args = append([]string{"--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"}, own.Args...)
		s, err := Start(ctx, own)
		if err != nil {
			g.Close()
			return nil, err
		}
		node := &Node{Server: s}
		g.Nodes = append(g.Nodes, node)
		if node.Link, err = faultproxy.NewPipe(ctx, "127.0.0.1:0", g.Nodes[0].Addr()); err != nil {
			g.Close()
			return nil, fmt.Errorf("start link: %w", err)
		}
	}
	var err error
	if g.Front, err = faultproxy.NewPipe(ctx, "127.0.0.1:0", g.Nodes[0].Addr()); err != nil {
		g.Close()
		return nil, fmt.Errorf("start front: %w", err)
	}
	for _, node := range g.Replicas() {
		if err := g.Follow(ctx, node); err != nil {
			g.Close()
			return nil, err
		}
	}
	return g, nil
}

// URL is that of Front.
func (g *Group) URL() string { return g.Front.URL() }

// Primary is the node that was promoted last, or the first.
func (g *Group) Primary() *Node { return g.Nodes[g.primary] }

// Replicas are the nodes that are not the primary, whether they follow it or not.
func (g *Group) Replicas() []*Node {
	var out []*Node
	for i, n := range g.Nodes {
		if i != g.primary {
			out = append(out, n)
		}
	}
	return out
}

// Promote makes a node the primary and moves Front there. The former primary is left as
// it is: two may call themselves primary then.
func (g *Group) Promote(ctx context.Context, n *Node) error {
	i := slices.Index(g.Nodes, n)
	if i < 0 {
		return fmt.Errorf("promote: no node of this group")
	}
	c := n.Client()
	defer func() { _ = c.Close() }()
	if err := c.ReplicaOf(ctx, "NO", "ONE").Err(); err != nil {
		return fmt.Errorf("promote: %w", err)
	}
	g.primary = i
	g.Front.Retarget(n.Addr())
	return nil
}

// Follow makes a node a replica of the primary, through its mended link, and waits until
// it has the primary's data. What it alone had is gone.
func (g *Group) Follow(ctx context.Context, n *Node) error {
	n.Link.Retarget(g.Primary().Addr())
	n.Link.Mend()
	host, port, err := net.SplitHostPort(n.Link.Addr())
	if err != nil {
		return fmt.Errorf("follow: %w", err)
	}
	c := n.Client()
	defer func() { _ = c.Close() }()
	if err := c.ReplicaOf(ctx, host, port).Err(); err != nil {
		return fmt.Errorf("follow: %w", err)
	}
	return g.CaughtUp(ctx, n)
}

// CaughtUp waits until a replica has received all that the primary had written when
// CaughtUp was called.
func (g *Group) CaughtUp(ctx context.Context, n *Node) error {
	primary, replica := g.Primary().Client(), n.Client()
	defer func() { _ = primary.Close() }()
	defer func() { _ = replica.Close() }()
	want, err := info(ctx, primary, "master_repl_offset")
	if err != nil { // a server whose role has just changed may end connections
		if want, err = info(ctx, primary, "master_repl_offset"); err != nil {
			return err
		}
	}
	offset, err := strconv.ParseInt(want, 10, 64)
	if err != nil {
		return fmt.Errorf("replication offset %q: %w", want, err)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	for {
		link, err := info(ctx, replica, "master_link_status")
		if err == nil && link == "up" {
			has, err := info(ctx, replica, "slave_repl_offset")
			if n, bad := strconv.ParseInt(has, 10, 64); err == nil && bad == nil && n >= offset {
				return nil
			}
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return fmt.Errorf("the replica does not follow: %w\n%s", context.Cause(ctx), n.Log())
		}
	}
}

// info is one field of INFO replication.
func info(ctx context.Context, c *redis.Client, field string) (string, error) {
	all, err := c.Info(ctx, "replication").Result()
	if err != nil {
		return "", fmt.Errorf("ask a server for its replication: %w", err)
	}
	for line := range strings.Lines(all) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), field+":"); ok {
			return v, nil
		}
	}
	return "", nil
}

// Close ends all servers and links.
func (g *Group) Close() {
	if g.Front != nil {
		g.Front.Close()
	}
	for _, n := range g.Nodes {
		_ = n.Kill() // nothing is left of a server that does not end
		if n.Link != nil {
			n.Link.Close()
		}
	}
}
