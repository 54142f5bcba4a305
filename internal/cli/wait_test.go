package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"ringmaster/job"
)

// TestWhoeverStopsWaitingIsToldWhatGoesOn: Ctrl-C ends the waiting, and not the job.
func TestWhoeverStopsWaitingIsToldWhatGoesOn(t *testing.T) {
	url, ringctl := server(t)
	waits := func(args ...string) string {
		t.Helper()
		ctx, stop := stopBy(t)
		said := newSeen()
		ended := start(ctx, Ringctl, io.Discard, said, Env{}, append(args, "--redis", url)...)
		said.await(t, "no live worker") // it says what it waits for
		stop(os.Interrupt)
		if code := <-ended; code != exitInterrupted {
			t.Errorf("%v: exit %d", args, code)
		}
		return said.await(t, "goes on; 'ringctl job wait q ")
	}
	id := ringctl("", "submit", "q", "--type", "t")
	for _, text := range []string{
		waits("submit", "q", "--type", "t", "--wait"),
		waits("submit", "q", "--type", "t", "--wait", "-o", "json"),
		waits("job", "wait", "q", strings.TrimSpace(id.stdout)),
	} {
		_, after, _ := strings.Cut(text, "job wait q ")
		again, _, _ := strings.Cut(after, "'")
		if got := ringctl("", "job", "get", "q", again, "-o", "json"); got.code != exitDone || !strings.Contains(got.stdout, `"waiting"`) {
			t.Errorf("%q names a job that is %+v", text, got)
		}
	}
}

// TestAListThatWasCutSaysSo: and how to see the rest. Listing takes few questions.
func TestAListThatWasCutSaysSo(t *testing.T) {
	url, ringctl := server(t)
	opts, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	raw := redis.NewClient(opts)
	defer raw.Close()
	if got := ringctl("", "queue", "create", "q", "--partitions", "2"); got.code != exitDone {
		t.Fatal(got)
	}
	const all = 20_000
	for from := 1; from <= all; from += 1000 {
		var fields []any
		for n := from; n < from+1000; n++ {
			id := job.ID{Partition: 1, Entry: job.EntryID{Ms: uint64(n)}}.String()
			fields = append(fields, id, fmt.Sprintf(`{"id":%q,"partition":1,"type":"t","key":"k","attempts":3,"error":"no","died_at":"2026-11-22T23:43:15Z"}`, id))
		}
		if err := raw.HSet(t.Context(), "rm:{q}:dead:1", fields...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for args, want := range map[string]struct {
		lines int
		says  string
	}{
		"":                 {101, "these are 100 of 20000 dead letters; --limit 20000 lists all"},
		"--limit 7":        {8, "these are 7 of 20000 dead letters"},
		"--limit 20000":    {20_001, ""},
		"--limit 99999999": {20_001, ""},
	} {
		if err := raw.ConfigResetStat(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		got := ringctl("", append([]string{"dead", "ls", "q"}, strings.Fields(args)...)...)
		if got.code != exitDone || strings.Count(got.stdout, "\n") != want.lines || (got.stderr != "") != (want.says != "") || !strings.Contains(got.stderr, want.says) {
			t.Errorf("dead ls %s: exit %d, %d lines, %q", args, got.code, strings.Count(got.stdout, "\n"), got.stderr)
		}
		if !strings.Contains(got.stdout, "\n1-1-0 ") {
			t.Errorf("dead ls %s: the oldest is not among them", args)
		}
		stats := raw.Info(t.Context(), "commandstats").Val()
		var scans int
		if _, after, ok := strings.Cut(stats, "cmdstat_hscan:calls="); ok {
			_, _ = fmt.Sscan(strings.ReplaceAll(after[:12], ",", " "), &scans)
		}
		if scans < 2 || scans > 100 {
			t.Errorf("dead ls %s: %d scans of %d dead letters", args, scans, all)
		}
	}
}
