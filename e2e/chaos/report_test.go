package main

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"ringmaster/internal/ledger"
)

func TestPage(t *testing.T) {
	u := &Run{tier: "pr", seed: 7, began: time.Now(), jobs: 3000, kills: 30, ledger: ledger.NewReport(), results: map[int]*result{
		3: {row: Row{Number: 3, Name: "worker killed"}, hits: 2, tries: 3, took: 1500 * time.Millisecond},
		9: {row: Row{Number: 9, Name: "clock", Cannot: "no shim"}},
	}, metrics: map[string][]time.Duration{"worker killed": {1, time.Second, 3 * time.Second}}}
	r := u.report(context.Background(), "again")
	text := r.page()
	for _, want := range []string{"no anomaly", "seed 7", "| 3 | worker killed | 2 | 3 | 1.5 s |", "not here: no shim", "| worker killed | 3 | 1000 ms | 3000 ms | 3000 ms |",
		"below 0.1 per kill (n = 30)", "below 0.001 per job (n = 3000)"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	u.anomaly("lost", "job 1")
	u.void("row %d was never hit", 9)
	r = u.report(context.Background(), "again")
	text = r.page()
	for _, want := range []string{"1 anomalies, void", "lost (): job 1", "row 9 was never hit"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "3/n") {
		t.Error("a bound although there was an anomaly")
	}
}

// Two processes of different size that grow by 6 MB an hour each.
func TestGrowth(t *testing.T) {
	u := &Run{rss: map[string][]sample{"a": nil, "b": nil, "c": {{time.Now(), 1 << 30, worker}}}}
	for i := range 10 {
		at := time.Unix(0, 0).Add(time.Duration(i) * 10 * time.Minute)
		u.rss["a"] = append(u.rss["a"], sample{at, int64(20+i) << 20, worker})
		u.rss["b"] = append(u.rss["b"], sample{at, int64(90+i) << 20, worker})
	}
	g := u.growth()[worker]
	if g.Processes != 2 || math.Abs(g.MBPerHour-6) > 1e-6 || math.Abs(g.Hours-8./3) > 1e-6 || g.MostMB != 99 {
		t.Errorf("%+v", g)
	}
}
