package cli

import (
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"ringmaster/internal/redistest"
	"ringmaster/job"
)

// Of 64 partitions a worker of weight 3 beside one of weight 1 owns 48, whichever came first; and
// where workers are shown, so is their weight.
func TestAWorkersWeightIsItsShare(t *testing.T) {
	url := redistest.Real(t).URL()
	ctx, stop := stopBy(t)
	log := newSeen()
	var services []<-chan int
	defer func() {
		stop(os.Interrupt)
		for _, ended := range services {
			<-ended
		}
	}()
	services = append(services, start(ctx, Dispatcher, io.Discard, log, Env{}, "--redis", url, "--listen", "127.0.0.1:0"))
	log.await(t, "listening addr=")
	run := func(name string, more ...string) {
		log := newSeen()
		args := append([]string{"--redis", url, "--queue", "q", "--builtin", "--name", name}, more...)
		services = append(services, start(ctx, Worker, io.Discard, log, Env{}, args...))
		log.await(t, "msg=ready")
	}
	run("heavy", "--weight", "3")
	run("plain")
	want := map[string][2]int{"heavy": {3, 48}, "plain": {1, 16}} // weight, partitions
	for deadline := time.Now().Add(20 * time.Second); ; {
		have := map[string][2]int{}
		var workers []job.WorkerView
		got := call(t, Ringctl, "", "workers", "ls", "q", "-o", "json", "--redis", url)
		if err := json.Unmarshal([]byte(got.stdout), &workers); err != nil {
			t.Fatalf("%v: %+v", err, got)
		}
		for _, w := range workers {
			have[w.Name] = [2]int{w.Weight, w.Partitions}
		}
		if len(have) == 2 && have["heavy"] == want["heavy"] && have["plain"] == want["plain"] {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("weight and partitions of each: %v, want %v", have, want)
		}
	}
	var ring job.RingView
	if got := call(t, Ringctl, "", "ring", "get", "q", "-o", "json", "--redis", url); json.Unmarshal([]byte(got.stdout), &ring) != nil || len(ring.Members) != 2 {
		t.Errorf("ring get: %+v", got)
	}
	for _, m := range ring.Members {
		if m.Weight != want[m.Name][0] {
			t.Errorf("ring get: %+v", m)
		}
	}
	table := call(t, Ringctl, "", "workers", "ls", "q", "--redis", url)
	if lines := strings.Split(table.stdout, "\n"); strings.Join(strings.Fields(lines[0])[2:5], " ") != "STATE WEIGHT PARTITIONS" ||
		strings.Join(strings.Fields(lines[1])[:5], " ") != "heavy q up 3 48" {
		t.Errorf("workers ls:\n%s", table.stdout)
	}
}

func TestAWeightOutOfItsLimitsIsRefused(t *testing.T) {
	for _, weight := range []string{"0", "101", "-1", "2.5", "two"} {
		got := call(t, Worker, "", "--queue", "q", "--builtin", "--weight", weight)
		if got.code != exitUsage || !strings.Contains(got.stderr, "want a whole number from 1 to 100") || !strings.Contains(got.stderr, "weight") {
			t.Errorf("--weight %s: %+v", weight, got)
		}
	}
}
