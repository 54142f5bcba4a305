package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ringmaster/bench"
)

// serveArg makes this program a NATS server: it is in a process of its own as the other
// servers are, so that its CPU time can be told apart.
const serveArg = "-serve-nats"

// serveNATS serves from a directory until its standard input ends.
func serveNATS(dir string) error {
	s, err := natsserver.NewServer(&natsserver.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: dir, NoLog: true, NoSigs: true})
	if err != nil {
		return err
	}
	s.Start()
	defer s.WaitForShutdown()
	defer s.Shutdown()
	if !s.ReadyForConnections(30 * time.Second) {
		return errors.New("the NATS server is not ready after 30 s")
	}
	fmt.Println(s.ClientURL())
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// natsServer starts this program once more. Its jobs are in files, not flushed one by one.
func natsServer(ctx context.Context) (server, error) {
	self, err := os.Executable()
	if err != nil {
		return server{}, err
	}
	dir, err := os.MkdirTemp("", "ringmaster-peers-")
	if err != nil {
		return server{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, self, serveArg, dir)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		cancel()
		return server{}, err
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		cancel()
		return server{}, err
	}
	stop := func() {
		_ = in.Close()
		_ = cmd.Wait()
		cancel()
		_ = os.RemoveAll(dir)
	}
	url, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		stop()
		return server{}, fmt.Errorf("its address: %w", err)
	}
	return server{at: strings.TrimSpace(url), pid: cmd.Process.Pid, stop: stop}, nil
}

// openJetStream has a work queue, whose messages go when they are acknowledged, in files;
// asynchronous publishing with two batches under way; and one pull consumer that fetches
// 4,000 ahead instead of 500, whose messages as many goroutines as the others have handle
// and acknowledge. The consumer's limit of 1,000 messages without ack is raised to what
// may be under way.
func openJetStream(ctx context.Context, at string) (system, error) {
	conn, err := nats.Connect(at)
	if err != nil {
		return system{}, err
	}
	js, err := jetstream.New(conn, jetstream.WithPublishAsyncMaxPending(4*many))
	if err != nil {
		return system{}, err
	}
	stream, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "jobs", Subjects: []string{"jobs"}, Retention: jetstream.WorkQueuePolicy, Storage: jetstream.FileStorage})
	if err != nil {
		return system{}, err
	}
	consumer, err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{Durable: "w", AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: bench.Outstanding})
	if err != nil {
		return system{}, err
	}
	load := newLoad()
	ready := make(chan jetstream.Msg, concurrency)
	var all sync.WaitGroup
	for range concurrency {
		all.Go(func() {
			for m := range ready {
				load.ran()
				_ = m.Ack()
			}
		})
	}
	consuming, err := consumer.Consume(func(m jetstream.Msg) { ready <- m }, jetstream.PullMaxMessages(8*many))
	if err != nil {
		return system{}, err
	}
	p := publisher{js: js, body: payload()}
	return system{
		move: func(ctx context.Context, jobs int) error { return load.move(ctx, jobs, 1, many, p.submit) },
		close: func() {
			consuming.Stop()
			<-consuming.Closed()
			close(ready)
			all.Wait()
			conn.Close()
		},
	}, nil
}

// publisher has two batches under way.
type publisher struct {
	js     jetstream.JetStream
	body   []byte
	before []jetstream.PubAckFuture
}

// submit publishes a batch, and waits until the one before is stored. A job that runs is
// stored, which is why nobody waits for the last one.
func (p *publisher) submit(ctx context.Context, n int) error {
	sent := make([]jetstream.PubAckFuture, n)
	for i := range sent {
		var err error
		if sent[i], err = p.js.PublishAsync("jobs", p.body, jetstream.WithStallWait(10*time.Second)); err != nil {
			return err
		}
	}
	for _, f := range p.before {
		select {
		case <-f.Ok():
		case err := <-f.Err():
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	p.before = sent
	return nil
}
