package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"ringmaster/internal/redisproc"
)

// clustered is a ring in a Redis Cluster whose first server has all of the queue's slots, and nothing else.
func clustered(shards int) RingSpec {
	keys := []string{fmt.Sprintf("rm:{%s}:", queueName)}
	for i := range shards {
		if shards > 1 {
			keys = append(keys, fmt.Sprintf("rm:{%s/%d}:", queueName, i))
		}
	}
	return RingSpec{Name: fmt.Sprint("cluster-", shards), Shards: shards, Role: func(role *Role) { role.Mode = "cluster" },
		Server: func(ctx context.Context, dir string) (Server, error) {
			c, err := redisproc.StartCluster(ctx, redisproc.Options{Dir: filepath.Join(dir, "redis"), Args: always()}, keys...)
			if err != nil {
				return nil, err
			}
			return c, nil
		}}
}

// clusterRows move the slots of a queue.
func clusterRows() []Row {
	return []Row{
		{Number: 81, Name: "redis-cli moves the slots of all eight shards to another server and back; a worker and the leader killed under way", Expect: "nothing acknowledged is lost, and nothing is left or made at the former server; jobs run within two leases and 5 s",
			Ring: clustered(8), Run: slotsMove},
		{Number: 82, Name: "the server that gives a queue's slot away killed in the midst of it, back after 1 s; redis-cli ends the move", Expect: "as 81; the same processes", Ring: clustered(1), Run: moveBreaksOff},
	}
}

// home is the server that has the queue's slots, and away the one that they can be moved to. A row
// that was not hit may have left them at either.
func home(ctx context.Context, c *redisproc.Cluster) (home, away int, err error) {
	n, _, err := c.Slots(ctx, 0)
	if n > 0 {
		return 0, 2, err
	}
	return 2, 0, err
}

// move starts redis-cli, and returns when a slot is on its way. done tells how redis-cli ended.
func (r *Rig) move(ctx context.Context, c *redisproc.Cluster, from, to int) (done <-chan error, err error) {
	slots, _, err := c.Slots(ctx, from)
	if err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Reshard(ctx, from, to, slots) }() // ends with redis-cli; the caller waits for it
	moving := false
	err = r.Until(ctx, "a slot is on its way", 20*time.Second, func() bool {
		_, moving, err = c.Slots(ctx, from)
		return err != nil || moving || len(ended) > 0
	})
	if err == nil && !moving {
		err = notHit("the move was not seen under way")
	}
	if err != nil {
		err = errors.Join(err, <-ended)
	}
	return ended, err
}

func slotsMove(ctx context.Context, r *Rig) error {
	c, err := serverOf[*redisproc.Cluster](r)
	if err != nil {
		return err
	}
	for range 2 {
		from, to, err := home(ctx, c)
		if err != nil {
			return err
		}
		w, err := r.Worker(ctx)
		if err != nil {
			return err
		}
		leader, err := r.Leader(ctx)
		if err != nil {
			return err
		}
		done, err := r.move(ctx, c, from, to)
		if err != nil {
			return err
		}
		r.Pause(ctx, 50*time.Millisecond)
		under := len(done) == 0 // between two slots none is on its way
		r.Kill(w)
		r.Kill(leader)
		if err := <-done; err != nil {
			return err
		}
		at := time.Now()
		if _, err := r.Flows(ctx, back); err != nil {
			return err
		}
		r.Metric("slots moved", time.Since(at))
		if err := r.bare(ctx, c, from); err != nil {
			return err
		}
		if !under {
			return notHit("the move was over when they were killed")
		}
		if err := r.Restore(ctx); err != nil {
			return err
		}
	}
	return nil
}

// bare holds that a server that gave its slots away has nothing of the queue.
func (r *Rig) bare(ctx context.Context, c *redisproc.Cluster, node int) error {
	n, _, err := c.Slots(ctx, node)
	if err != nil {
		return err
	}
	keys, err := c.Keys(ctx, node)
	if err == nil && (n > 0 || keys > 0) {
		err = fmt.Errorf("%d slots and %d keys at the server that gave them away", n, keys)
	}
	return err
}

func moveBreaksOff(ctx context.Context, r *Rig) error {
	c, err := serverOf[*redisproc.Cluster](r)
	if err != nil {
		return err
	}
	from, to, err := home(ctx, c)
	if err != nil {
		return err
	}
	before := r.pids()
	done, err := r.move(ctx, c, from, to)
	if err != nil {
		return err
	}
	r.Pause(ctx, 50*time.Millisecond)
	if err := c.Nodes[from].Kill(); err != nil {
		return err
	}
	broke := <-done
	r.Wait(ctx, time.Second)
	if err := c.Nodes[from].Restart(ctx); err != nil {
		return err
	}
	if err := c.Whole(ctx); err != nil {
		return err
	}
	_, under, err := c.Slots(ctx, from)
	if err != nil {
		return err
	}
	if err := c.Fix(ctx); err != nil {
		return err
	}
	if err := sameProcesses(ctx, r, before, time.Now(), "move mended"); err != nil {
		return err
	}
	if broke == nil || !under {
		return notHit("the move was over when the server was killed (%v)", broke)
	}
	_, former, err := home(ctx, c)
	if err != nil {
		return err
	}
	return r.bare(ctx, c, former)
}
