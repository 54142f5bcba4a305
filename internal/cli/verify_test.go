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
	if !strings.Contains(got.stderr, "no dispatcher leads") || !strings.Contains(got.stderr, "has no worker") {
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
