package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"ringmaster/bench"
)

// The NATS server is this program, started once more: so is the test's.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == serveArg {
		if err := serveNATS(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// Every peer moves all jobs, once each; River where there is a Postgres for it.
func TestPeers(t *testing.T) {
	for _, p := range peers(os.Getenv(postgresVariable)) {
		t.Run(p.name, func(t *testing.T) {
			if p.serve == nil {
				t.Skip(noPostgres)
			}
			s, err := p.sample(t.Context(), 3000)
			if err != nil {
				t.Fatal(err)
			}
			if s.rate <= 0 || s.client <= 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestTable(t *testing.T) {
	all, err := chosen(peers(""), "XDEL|River|asynq")
	if err != nil {
		t.Fatal(err)
	}
	samples := [][]sample{
		{{rate: 100_000, server: 7, client: 4}, {rate: 200_000, server: 8, client: 5}, {rate: 120_000, server: 9, client: 6}},
		nil,
		{{rate: 4000, server: 120, client: 230, others: 1}, {rate: 3000, server: 120, client: 230, others: 0.1}, {rate: 3600, server: 121, client: 231}},
	}
	table := makeTable(t.Context(), options{rounds: 3, scale: 1}, all, samples)
	if table.Noisy {
		t.Error("one disturbed sample of six makes it noisy")
	}
	asynq := table.Peers[slices.IndexFunc(table.Peers, func(r row) bool { return r.Name == "asynq" })]
	if asynq.Rate != 3600 || asynq.Ratio != 0.03 || asynq.Server != 120 || asynq.Others != 1 || asynq.Jobs != 45_000 {
		t.Errorf("%+v", asynq)
	}
	out := table.markdown()
	if !strings.Contains(out, "not run | | | | | "+noPostgres) || !strings.Contains(out, "| 120,000 | 1 | 8.0 | 5.0 |") {
		t.Error(out)
	}
}

// A system that runs a job twice is no system to compare with.
func TestLoad(t *testing.T) {
	run := func(times int) error {
		l := newLoad()
		return l.move(t.Context(), 1000, 4, 10, func(_ context.Context, n int) error {
			for range n * times {
				l.ran()
			}
			return nil
		})
	}
	if err := run(1); err != nil {
		t.Error(err)
	}
	if err := run(2); err == nil {
		t.Error("jobs that ran twice go unnoticed")
	}
}

// Nobody hands in more than may be under way.
func TestLoadIsBounded(t *testing.T) {
	l := newLoad()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	in := 0
	err := l.move(ctx, 2*bench.Outstanding, 1, many, func(_ context.Context, n int) error {
		in += n
		return nil
	})
	if err == nil || in > bench.Outstanding {
		t.Errorf("%d were handed in while none ran: %v", in, err)
	}
}

func TestProcessTree(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("no /proc here")
	}
	s, ok := statusOf(os.Getpid())
	if !ok || s.parent != os.Getppid() {
		t.Errorf("%+v; the parent is %d", s, os.Getppid())
	}
	if parentOf(os.Getpid(), "another name") != 0 || parentOf(os.Getpid(), s.name) != os.Getppid() {
		t.Error("the parent of a process goes by its name")
	}
	if processTree(0) != 0 {
		t.Error("no process has used CPU time")
	}
}
