// Command peers moves the same jobs through our queue, the loop one would write by hand
// and other job systems, in turn on the same machine, and prints a table for people and a
// last line of JSON. It is a module of its own, so that nobody who uses ours gets theirs.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"

	"ringmaster/bench"
)

// version is set by the build.
var version = "dev"

func main() {
	if len(os.Args) == 3 && os.Args[1] == serveArg {
		if err := serveNATS(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, "peers:", err)
			os.Exit(1)
		}
		return
	}
	o := options{}
	flag.IntVar(&o.rounds, "rounds", 3, "to take the medians of")
	flag.Float64Var(&o.scale, "scale", 1, "jobs of each sample, as a multiple of a few seconds' worth")
	flag.StringVar(&o.postgres, "postgres", os.Getenv(postgresVariable), "URL of a Postgres, for River, with a database in which River's jobs are deleted; $"+postgresVariable)
	flag.StringVar(&o.only, "only", "", "regular expression of the names to run; all without it")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	rounds   int
	scale    float64
	postgres string
	only     string
}

// peers are all contenders. The first is what the others are compared to.
func peers(postgresURL string) []peer {
	all := []peer{
		{name: "bare loop, XDEL", module: "github.com/redis/go-redis/v9", note: "one reader: no order per key, no fence, no retry", jobs: 300_000, serve: redis, open: bare(false)},
		{name: "bare loop, XTRIM", module: "github.com/redis/go-redis/v9", note: "the same", jobs: 300_000, serve: redis, open: bare(true)},
		{name: "ringmaster, 10,000 keys", note: "in order per key", jobs: 200_000, serve: redis, open: ring(bench.Keys)},
		{name: "ringmaster, no keys", jobs: 200_000, serve: redis, open: ring(0)},
		{name: "JetStream", module: "github.com/nats-io/nats-server/v2", note: "work queue in files", jobs: 100_000, serve: natsServer, open: openJetStream},
		{name: "watermill-redisstream", module: "github.com/ThreeDotsLabs/watermill-redisstream", note: "keeps what is done", jobs: 30_000, serve: redis, open: openWatermill},
		{name: "River", module: "github.com/riverqueue/river", note: "Postgres, every commit flushed; keeps what is done", jobs: 30_000, serve: postgres(postgresURL), open: openRiver},
		{name: "asynq", module: "github.com/hibiken/asynq", jobs: 15_000, serve: redis, open: openAsynq},
	}
	if postgresURL == "" {
		for i := range all {
			if all[i].name == "River" {
				all[i].serve = nil
			}
		}
	}
	return all
}

const postgresVariable = "RINGMASTER_BENCH_POSTGRES"

// noPostgres is why a peer without a server was not run.
const noPostgres = "no Postgres: give -postgres or " + postgresVariable

func run(ctx context.Context, o options) error {
	all, err := chosen(peers(o.postgres), o.only)
	if err != nil {
		return err
	}
	samples := make([][]sample, len(all))
	for n := range o.rounds {
		for _, i := range rand.Perm(len(all)) { // none always follows the same one
			p := all[i]
			if p.serve == nil {
				continue
			}
			s, err := p.sample(ctx, max(warmup, int(o.scale*float64(p.jobs))))
			if err != nil {
				return err
			}
			fmt.Fprintf(os.Stderr, "round %d: %s: %.0f/s, CPU per job: server %.1f µs, client %.1f µs; others took %.2f CPUs\n", n+1, p.name, s.rate, s.server, s.client, s.others)
			samples[i] = append(samples[i], s)
		}
	}
	t := makeTable(ctx, o, all, samples)
	last, err := json.Marshal(t)
	if err != nil {
		return err
	}
	_, err = fmt.Printf("%s\n%s\n", t.markdown(), last)
	return err
}
