package cli

import (
	"context"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

func TestVerify(t *testing.T) {
	url, ringctl := server(t)
	for _, args := range []string{"queue create audited --journal --partitions 2", "queue create plain"} {
		if got := ringctl("", strings.Fields(args)...); got.code != exitDone {
			t.Fatalf("%s: %+v", args, got)
		}
	}
	if got := ringctl("", "verify", "plain"); got.code != exitConflict || !strings.Contains(got.stderr, "--journal") {
		t.Errorf("without a journal: %+v", got)
	}
	if got := ringctl("", "verify", "nope"); got.code != exitNotFound {
		t.Errorf("unknown queue: %+v", got)
	}
	for range 3 {
		if got := ringctl("", "submit", "audited", "--type", "echo", "--key", "k"); got.code != exitDone {
			t.Fatalf("submit: %+v", got)
		}
	}
	got := ringctl("", "verify", "audited", "-o", "json")
	if want := `{"lost":0,"completed_twice":0,"out_of_order":0,"open":3}` + "\n"; got.code != exitDone || got.stdout != want {
		t.Errorf("at rest, nobody at work: %+v", got)
	}
	if !strings.Contains(got.stderr, "no dispatcher leads") || !strings.Contains(got.stderr, "no live worker") {
		t.Errorf("does not say that nobody is at work: %q", got.stderr)
	}

	opts, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	raw := redis.NewClient(opts)
	defer func() { _ = raw.Close() }()
	ctx := context.Background()
	stream := "rm:{audited}:jobs:0"
	if raw.XLen(ctx, stream).Val() == 0 {
		stream = "rm:{audited}:jobs:1"
	}
	first := raw.XRange(ctx, stream, "-", "+").Val()
	raw.XDel(ctx, stream, first[1].ID)
	got = ringctl("", "verify", "audited", "-o", "json")
	if want := `{"lost":1,"completed_twice":0,"out_of_order":0,"open":2}` + "\n"; got.code != exitFailure || got.stdout != want {
		t.Errorf("one job deleted by hand: %+v", got)
	}
	if !strings.Contains(got.stderr, "1 of 3 jobs neither ended nor are open") {
		t.Errorf("does not say where: %q", got.stderr)
	}
	raw.XGroupCreate(ctx, stream, "mine", "0")
	got = ringctl("", "verify", "audited")
	if got.code != exitFailure || !strings.Contains(got.stderr, "consumer group mine, which does not own it") {
		t.Errorf("a foreign group: %+v", got)
	}
}

func TestDoctor(t *testing.T) {
	url, ringctl := server(t)
	opts, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	raw := redis.NewClient(opts)
	defer func() { _ = raw.Close() }()
	ctx := context.Background()

	got := ringctl("", "doctor", "-o", "json")
	wantKeys(t, strings.TrimSuffix(strings.TrimPrefix(got.stdout, "["), "]\n")+"\n", "severity check queue partition count finding meaning remedy mended done")
	if got.code != exitFailure || !strings.Contains(got.stdout, `"severity":"warning","check":"appendonly","queue":"","partition":null`) {
		t.Errorf("without an append-only file: %+v", got)
	}
	if got = ringctl("", "doctor", "--apply"); got.code != exitDone || !strings.Contains(got.stdout, "mended") {
		t.Errorf("apply: %+v", got)
	}
	if on := raw.ConfigGet(ctx, "appendonly").Val()["appendonly"]; on != "yes" {
		t.Errorf("appendonly is %s", on)
	}
	if got = ringctl("", "doctor", "-o", "json"); got.code != exitDone || got.stdout != "[]\n" || got.stderr != "nothing is wrong\n" {
		t.Errorf("all mended: %+v", got)
	}
	if got = ringctl("", "queue", "create", "q", "--partitions", "2"); got.code != exitDone {
		t.Fatalf("%+v", got)
	}
	raw.XGroupCreate(ctx, "rm:{q}:jobs:1", "mine", "0")
	got = ringctl("", "doctor", "-o", "jsonl")
	if got.code != exitFailure || !strings.Contains(got.stdout, `{"severity":"error","check":"group without owner","queue":"q","partition":1,`) ||
		!strings.Contains(got.stdout, `"check":"no leader"`) || !strings.Contains(got.stderr, "open findings: 2") {
		t.Errorf("a foreign group: %+v", got)
	}
	got = ringctl("", "doctor", "--apply")
	if got.code != exitFailure || !strings.Contains(got.stdout, "destroyed group mine") || !strings.Contains(got.stderr, "open findings: 1") {
		t.Errorf("apply, and nobody leads: %+v", got)
	}
}
