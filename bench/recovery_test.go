package bench

import (
	"context"
	"fmt"
	"os"
	"testing"

	"ringmaster/internal/redistest"
	"ringmaster/internal/service"
)

// TestMain lets the test's own binary be the workers, too.
func TestMain(m *testing.M) {
	service.Quiet()
	if len(os.Args) > 1 && os.Args[1] == WorkerCommand {
		err := RunWorkerProcess(context.Background(), os.Stdin, os.Stdout, os.Stderr)
		_, _ = fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// The jobs of a killed process are started again, every run.
func TestRecovery(t *testing.T) {
	server := redistest.Real(t)
	o := DefaultRecovery()
	o.Runs, o.Redis = 2, server.URL()
	var err error
	if o.Binary, err = os.Executable(); err != nil {
		t.Fatal(err)
	}
	r, err := RunRecovery(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	// Two looks of the leader, 30 ms apart, must miss the worker.
	if r.Runs != 2 || r.P50 < 10 || r.Max < r.P50 {
		t.Errorf("%+v", r)
	}
	nothingLeft(t, server)
}
