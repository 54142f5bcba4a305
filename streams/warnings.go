package streams

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Risk is one thing about a server that puts jobs at risk.
type Risk struct {
	Name   string // of the setting, or version, clock, settings
	Server string // address of the node; "" where there is one alone
	Value  string // what it is; "" of a clock
	What   string // one sentence
	Remedy string
	Grave  bool   // accepted jobs can be lost in normal operation, or nothing works
	Want   string // what SetSetting can set it to; "" if it cannot be set
	State  bool   // no setting, but how the server is at the moment
}

func (r Risk) String() string {
	at := ""
	if r.Server != "" {
		at = " (" + r.Server + ")"
	}
	return r.What + at + "; " + r.Remedy
}

// Warnings says which settings of the server put jobs at risk, one sentence each.
func (in *Inspector) Warnings(ctx context.Context) []string {
	risks, _ := in.Risks(ctx) // what could be read
	var out []string
	for _, r := range risks {
		if !r.State {
			out = append(out, r.String())
		}
	}
	return out
}

// Risks looks at the state, the settings, the version and the clock of every primary, tries a write,
// and returns what puts jobs at risk, by server. The store in memory has none to look at. It blocks
// for a few round trips; with an error come the risks of the servers that answered.
func (in *Inspector) Risks(ctx context.Context) ([]Risk, error) {
	if in.s.Embedded() {
		return nil, nil
	}
	var mu sync.Mutex
	var out []Risk
	_, cluster := in.s.cmd.(*redis.ClusterClient)
	err := in.s.eachPrimary(ctx, func(ctx context.Context, c *redis.Client) error {
		found, err := risksOf(ctx, c, cluster)
		found = append(found, in.replicaRisk(ctx, c)...)
		if err == nil {
			var state []Risk
			state, err = stateOfServer(ctx, c)
			found = append(state, found...)
		}
		if cluster {
			found = append(found, slotRisk(ctx, c)...)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, r := range found {
			if _, one := in.s.cmd.(*redis.Client); !one {
				r.Server = c.Options().Addr
			}
			out = append(out, r)
		}
		return err
	})
	if err == nil {
		out = in.refusesWrites(ctx, out)
	}
	slices.SortStableFunc(out, func(a, b Risk) int { return cmp.Compare(a.Server, b.Server) })
	return out, wrap("look at the server's settings", err)
}

// SetSetting sets what a risk names to what it wants, at the running server alone: its
// file of settings keeps the old value.
func (s *Store) SetSetting(ctx context.Context, r Risk) error {
	if r.Want == "" {
		return fmt.Errorf("%s cannot be set at a running server", r.Name)
	}
	err := s.eachPrimary(ctx, func(ctx context.Context, c *redis.Client) error {
		if r.Server != "" && r.Server != c.Options().Addr {
			return nil
		}
		return c.ConfigSet(ctx, r.Name, r.Want).Err()
	})
	return wrap("set "+r.Name, err)
}

func (s *Store) eachPrimary(ctx context.Context, f func(context.Context, *redis.Client) error) error {
	switch c := s.admin.(type) { // a client for commands connects to no replica
	case *redis.ClusterClient:
		return c.ForEachMaster(ctx, f)
	case *redis.Client:
		return f(ctx, c)
	}
	return fmt.Errorf("unknown kind of client %T", s.admin)
}

func risksOf(ctx context.Context, c *redis.Client, cluster bool) ([]Risk, error) {
	var out []Risk
	info, err := c.Info(ctx, "server").Result()
	if err == nil {
		out = append(out, versionRisk(info, cluster)...)
	} else if !Answered(err) {
		return nil, err
	}
	ahead, err := clockAhead(ctx, c)
	if err == nil {
		out = append(out, clockRisk(ahead)...)
	} else if !Answered(err) {
		return out, err
	}
	settings := map[string]string{}
	for _, name := range []string{"maxmemory-policy", "appendonly", "appendfsync"} {
		m, err := c.ConfigGet(ctx, name).Result()
		if err != nil && !Answered(err) {
			return out, err
		}
		settings[name] = m[name]
	}
	return append(out, settingRisks(settings)...), nil
}

var versionLine = regexp.MustCompile(`(?m)^redis_version:(\d+)\.(\S+)\r?$`)

// crashesOnMoves finds Redis 7.2.0 to 7.2.6: an assertion fails where a read that waits is sent elsewhere
// (mended in 7.2.7). Valkey tells such a version too, for the sake of clients, and its own after it.
var crashesOnMoves = regexp.MustCompile(`(?m)^redis_version:(7\.2\.[0-6])\r?\nredis_`)

func versionRisk(info string, cluster bool) []Risk {
	if m := crashesOnMoves.FindStringSubmatch(info); m != nil && cluster {
		return []Risk{{Name: "version", Value: m[1], What: "the server is Redis " + m[1] + ", which crashes when a slot moves away that workers read", Remedy: "upgrade it to 7.2.7 before slots are moved"}}
	}
	m := versionLine.FindStringSubmatch(info)
	if m == nil {
		return nil
	}
	if major, err := strconv.Atoi(m[1]); err != nil || major >= 7 {
		return nil
	}
	v := m[1] + "." + m[2]
	return []Risk{{Name: "version", Value: v, Grave: true, What: "the server is Redis " + v + ", and scripts need 7.0", Remedy: "upgrade the server"}}
}

// clockRisk takes how far this machine's clock is ahead.
func clockRisk(ahead time.Duration) []Risk {
	if ahead == 0 {
		return nil
	}
	way := "ahead of"
	if ahead > 0 {
		way = "behind"
	}
	return []Risk{{Name: "clock",
		What:   fmt.Sprintf("the server's clock is %.1f s %s this machine's: times of jobs are the server's, and fit nothing that this machine logs", ahead.Abs().Seconds(), way),
		Remedy: "keep both clocks with NTP"}}
}

func settingRisks(settings map[string]string) []Risk {
	var out []Risk
	policy, aof, fsync := settings["maxmemory-policy"], settings["appendonly"], settings["appendfsync"]
	if policy == "" && aof == "" {
		return []Risk{{Name: "settings", What: "the server does not tell its settings", Remedy: "see to it that maxmemory-policy is noeviction and appendonly is yes"}}
	}
	if policy != "" && policy != "noeviction" {
		out = append(out, Risk{Name: "maxmemory-policy", Value: policy, Grave: true, Want: "noeviction",
			What: "maxmemory-policy is " + policy + ": when memory is full the server may delete jobs", Remedy: "set it to noeviction"})
	}
	if aof == "no" {
		out = append(out, Risk{Name: "appendonly", Value: aof, Want: "yes",
			What: "appendonly is no: what was written since the last snapshot is lost when the server stops", Remedy: "set it to yes"})
	}
	if aof == "yes" && fsync == "no" {
		out = append(out, Risk{Name: "appendfsync", Value: fsync, Want: "everysec",
			What: "appendfsync is no: the system may keep writes off the disk for half a minute", Remedy: "set it to everysec or always"})
	}
	return out
}

// RiskWatch tells of risks that were not there when it last looked. Not safe for
// concurrent use.
type RiskWatch struct {
	in    *Inspector
	known map[string]bool
}

// NewRiskWatch has seen nothing yet.
func (in *Inspector) NewRiskWatch() *RiskWatch { return &RiskWatch{in: in} }

// Look returns the risks that are new. A server that does not answer changes nothing.
func (w *RiskWatch) Look(ctx context.Context) []Risk {
	risks, err := w.in.Risks(ctx)
	if err != nil {
		return nil
	}
	known := map[string]bool{}
	var news []Risk
	for _, r := range risks {
		id := r.Name + " " + r.Server + " " + r.Value
		known[id] = true
		if !w.known[id] {
			news = append(news, r)
		}
	}
	w.known = known
	return news
}
