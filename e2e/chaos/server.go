package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// plain is a redis-server with an append-only file that is synced at every write.
type plain struct {
	addr string
	cmd  *exec.Cmd
	done chan struct{}
}

func (p *plain) URL() string { return "redis://" + p.addr }

func (p *plain) Close() {
	_ = p.cmd.Process.Signal(syscall.SIGCONT)
	_ = p.cmd.Process.Kill()
	<-p.done
}

// plainServer starts one on a free port of this machine.
func plainServer(ctx context.Context, dir string) (Server, error) {
	data := filepath.Join(dir, "redis")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, fmt.Errorf("make directory: %w", err)
	}
	var last error
	for range 5 {
		port, err := freePort(ctx)
		if err != nil {
			return nil, err
		}
		p := &plain{addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), done: make(chan struct{})}
		p.cmd = exec.CommandContext(context.WithoutCancel(ctx), "redis-server", "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", data,
			"--logfile", filepath.Join(data, "log"), "--save", "", "--appendonly", "yes", "--appendfsync", "always", "--daemonize", "no")
		p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
		if err := p.cmd.Start(); err != nil {
			return nil, fmt.Errorf("start redis-server: %w", err)
		}
		go func() { _ = p.cmd.Wait(); close(p.done) }() // ends with the process; Close waits
		if last = p.answers(ctx); last == nil {
			return p, nil
		}
		p.Close()
	}
	return nil, last
}

func (p *plain) answers(ctx context.Context) error {
	c := redis.NewClient(&redis.Options{Addr: p.addr, MaxRetries: -1})
	defer c.Close()
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := c.Ping(ctx).Err()
		if err == nil {
			return nil
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-p.done:
			return errors.New("redis-server ended at once")
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("redis-server does not answer: %w", err)
		}
	}
}

func freePort(ctx context.Context) (int, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
