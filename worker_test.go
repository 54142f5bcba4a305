package ringmaster_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ringmaster"
	"ringmaster/internal/redistest"
	"ringmaster/ringtest"
)

// A handler's effects are there when its result is refused: it does not run again.
func TestResultsThatCannotBeKept(t *testing.T) {
	redistest.Each(t, func(t *testing.T, url, _ string) {
		ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
		var services sync.WaitGroup
		defer services.Wait()
		defer stop()
		client, err := ringmaster.NewClient(ringmaster.Config{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		q := client.Queue("q")
		w, err := ringmaster.NewWorker(ringmaster.Config{URL: url}, ringmaster.WorkerConfig{Queues: []string{"q"}, MaxResultBytes: 4096})
		if err != nil {
			t.Fatal(err)
		}
		var runs atomic.Int32
		ringmaster.HandleResult(w, "t", func(_ context.Context, j ringmaster.Job[string]) (any, error) {
			runs.Add(1)
			switch j.Payload {
			case "large":
				return strings.Repeat("x", 40<<20), nil
			case "just too large":
				return strings.Repeat("x", 4097), nil
			case "nan":
				return math.NaN(), nil
			case "channel":
				return make(chan int), nil
			case "raw":
				return json.RawMessage("{"), nil
			case "long error":
				return nil, ringmaster.Skip(errors.New(strings.Repeat("y", 50<<20)))
			}
			return strings.Repeat("<", 4096), nil
		})
		services.Go(func() { _ = ringmaster.Dispatch(ctx, url, nil) })
		services.Go(func() {
			if err := w.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		for i, payload := range []string{"large", "just too large", "nan", "channel", "raw", "long error"} {
			status, err := q.Call(ctx, "t", payload, nil, ringmaster.Key("k"))
			if status.State != "dead" || status.Attempts != 1 || status.Error == "" || len(status.Error) > 2000 {
				t.Errorf("%s: %s after %d attempts, %v: %.200s", payload, status.State, status.Attempts, err, status.Error)
			}
			if n := runs.Load(); n != int32(i+1) {
				t.Errorf("%s: %d runs", payload, n)
			}
		}
		var result string
		if status, err := q.Call(ctx, "t", "good", &result, ringmaster.Key("k")); err != nil || len(result) != 4096 {
			t.Errorf("the key does not go on: %v, %v, %d bytes", status, err, len(result))
		}
	})
}

func TestAWeightIsAShareOfThePartitions(t *testing.T) {
	ringtest.Run(t, func(t *testing.T, r *ringtest.Ring) {
		handlers := func(w *ringmaster.Worker) {
			ringmaster.Handle(w, "t", func(context.Context, ringmaster.Job[string]) error { return nil })
		}
		r.Worker(ringmaster.WorkerConfig{Queues: []string{"q"}, Name: "heavy", Weight: 3}, handlers)
		r.Worker(ringmaster.WorkerConfig{Queues: []string{"q"}, Name: "plain"}, handlers)
		ring, err := r.Queue("q").Ring(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		owned := map[string]int{}
		for _, p := range ring.Partitions {
			name, _, _ := strings.Cut(p.Owner, ".")
			owned[name]++
		}
		if 4*owned["heavy"] != 3*len(ring.Partitions) || 4*owned["plain"] != len(ring.Partitions) {
			t.Errorf("owned: %v of %d", owned, len(ring.Partitions))
		}
	})
}
