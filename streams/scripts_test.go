package streams

import (
	"bufio"
	"fmt"
	"io/fs"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ringmaster/job"
)

// Every key that a script touches is in the slot of the key it was called with. Run on
// the real server alone: the in-memory store has no MONITOR and knows no slots.
func TestScriptsStayInTheirShard(t *testing.T) {
	for _, shards := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d shards", shards), func(t *testing.T) {
			c := realCrew(t, Queue{Partitions: 3, Shards: shards, Journal: true})
			names := map[string]string{}
			for _, name := range scriptNames(t) {
				body, err := scriptText(name)
				must(t, err)
				names[sha(body)], names[sha("#!lua flags=allow-oom\n"+body)] = name, name
			}
			stop := c.monitor()
			exercise(c)
			seen, script, shard := map[string]int{}, "", ""
			for _, m := range stop() {
				if m.lua {
					for _, key := range keysOf(m.args) {
						if !strings.HasPrefix(key, shard) || slot(key) != slot(shard) {
							t.Errorf("script %s of %s: %v touches %q", script, shard, m.args, key)
						}
					}
					continue
				}
				switch strings.ToLower(m.args[0]) {
				case "evalsha":
					script = names[m.args[1]]
				case "eval":
					script = names[sha(m.args[1])]
				case "xreadgroup":
					for _, arg := range m.args {
						if strings.HasPrefix(arg, "rm:") && slot(arg) != slot(m.args[slices.Index(m.args, "STREAMS")+1]) {
							t.Errorf("%v: more than one slot", m.args)
						}
					}
					continue
				default:
					continue
				}
				if m.args[2] != "1" {
					t.Errorf("script %s has %s keys", script, m.args[2])
				}
				shard = m.args[3]
				seen[script]++
			}
			for _, name := range scriptNames(t) {
				if seen[name] == 0 && (name != "reserve" || shards > 1) { // one shard holds job and idempotency key
					t.Errorf("script %s was not exercised", name)
				}
			}
		})
	}
}

func TestSlot(t *testing.T) {
	// Values of the cluster specification's CRC16 and of CLUSTER KEYSLOT.
	for key, want := range map[string]uint16{"123456789": 0x31c3 % 16384, "foo": 12182, "a{foo}b": 12182, "foo{}{bar}": 8363, "": 0} {
		if got := slot(key); got != want {
			t.Errorf("slot of %q: %d, want %d", key, got, want)
		}
	}
}

// slot is the cluster's hash slot of a key: CRC16 (XMODEM) of its first hash tag.
func slot(key string) uint16 {
	if i := strings.IndexByte(key, '{'); i >= 0 {
		if j := strings.IndexByte(key[i+1:], '}'); j > 0 {
			key = key[i+1 : i+1+j]
		}
	}
	var crc uint16
	for i := range len(key) {
		crc ^= uint16(key[i]) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return crc % 16384
}

func scriptNames(t *testing.T) []string {
	t.Helper()
	files, err := fs.Glob(luaFiles, "lua/*.lua")
	must(t, err)
	var out []string
	for _, f := range files {
		name := strings.TrimSuffix(strings.TrimPrefix(f, "lua/"), ".lua")
		if !strings.HasPrefix(name, "part_") {
			out = append(out, name)
		}
	}
	return out
}

// monitored is one command as MONITOR shows it.
type monitored struct {
	lua  bool
	args []string
}

// monitor records what the server executes until the returned function is called.
func (c *crew) monitor() func() []monitored {
	c.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(c.url, "redis://"))
	must(c.t, err)
	c.t.Cleanup(func() { _ = conn.Close() })
	must(c.t, conn.SetDeadline(time.Now().Add(60*time.Second)))
	_, err = conn.Write([]byte("MONITOR\r\n"))
	must(c.t, err)
	r := bufio.NewReader(conn)
	line, err := r.ReadString('\n')
	must(c.t, err)
	c.expect("MONITOR", strings.TrimSpace(line), "+OK")
	return func() []monitored {
		must(c.t, c.raw.Echo(c.ctx, "that is all").Err())
		var out []monitored
		for {
			line, err := r.ReadString('\n')
			must(c.t, err)
			where, rest, _ := strings.Cut(line, "] ")
			m := monitored{lua: strings.HasSuffix(where, " lua")}
			for rest = strings.TrimSpace(rest); rest != ""; rest = strings.TrimSpace(rest) {
				q, err := strconv.QuotedPrefix(rest)
				must(c.t, err)
				arg, err := strconv.Unquote(q)
				must(c.t, err)
				m.args, rest = append(m.args, arg), rest[len(q):]
			}
			if len(m.args) == 2 && m.args[1] == "that is all" {
				return out
			}
			out = append(out, m)
		}
	}
}

// keysOf are the keys, and channels, of a command that a script calls.
func keysOf(args []string) []string {
	switch strings.ToLower(args[0]) {
	case "time":
		return nil
	case "del", "exists":
		return args[1:]
	case "xgroup", "xinfo", "pubsub":
		return args[2:3]
	case "xreadgroup":
		at := slices.Index(args, "STREAMS") + 1
		return args[at : at+(len(args)-at)/2]
	}
	return args[1:2]
}

// exercise runs every script, in each shard where it makes sense, with names and keys
// that hold braces of their own.
func exercise(c *crew) {
	a, b := c.give(c.join("a.1")), c.join("b.1")
	must1(c.s.CreateQueue(c.ctx, Queue{Name: "q"}))(c.t)
	p := c.s.NewProducer(c.q)
	defer p.Close()
	jobs := []job.Job{{Type: "t", Key: "x", IdempotencyKey: "i{j}"}}
	for sh := range c.q.Shards { // whose job may be of another shard
		must1(run(c.ctx, c.s, c.s.cmd, &c.s.scripts.reserve, c.s.shard(c.q, sh), "r{j}", "print", job.IdempotencyTTL.Milliseconds(), c.q.Partitions))(c.t)
	}
	key := map[int]string{}
	for i := 0; len(jobs) < 1+3*6; i++ {
		k := fmt.Sprintf("{k}%d", i%40)
		if n := job.PartitionOf(k, 3); key[n] == "" || key[n] == k {
			key[n] = k
			jobs = append(jobs, job.Job{Type: "t", Key: k})
		}
	}
	if _, errs := p.Enqueue(c.ctx, jobs...); errs != nil {
		c.t.Fatal(errs)
	}
	must1(a.member.Heartbeat(c.ctx))(c.t)
	for n := range 3 {
		must1(a.reader(n).Snapshot(c.ctx))(c.t)
		for _, id := range a.read(n) {
			full := job.ID{Partition: n, Entry: id}
			end := done(id)
			end.Outcome, end.Data = job.Buried, asJSON(job.DeadLetter{ID: full.String(), Partition: n, Type: "t", Key: key[n], Payload: []byte("1")})
			c.expect("bury", a.ack(n, 1, end), "O")
		}
	}
	dead := must1(c.s.Inspect().DeadLetters(c.ctx, "q", 100))(c.t)
	for i, d := range dead {
		if i%2 == 0 {
			must1(c.s.RequeueDead(c.ctx, "q", d.ID))(c.t)
		} else {
			must(c.t, c.s.RemoveDead(c.ctx, "q", d.ID))
		}
		must1(c.s.Inspect().Job(c.ctx, "q", d.ID))(c.t)
	}
	must(c.t, c.plan("key", "b.1"))
	for n := range 3 {
		ids := a.read(n)
		if len(ids) == 0 {
			c.t.Fatalf("nothing in partition %d", n)
		}
		c.expect("park", a.ack(n, 1, park(ids[0], key[n])), "O")
		c.add(1, key[n])
		must1(skim(c.ctx, a.reader(n), job.Tenure{Partition: n, Epoch: 1}, 10))(c.t)
		more := c.add(3, key[n])
		a.read(n)
		must(c.t, a.member.Mark(c.ctx, job.Tenure{Partition: n, Epoch: 1}, more[0], 1, time.Second))
		must1(a.member.Deaths(c.ctx, n))(c.t)
		c.expect("release", a.release(n, 1, more...), job.Released)
		b.claimAll(n, 2, 10)
		must1(unpark(c.ctx, b.reader(n), job.Tenure{Partition: n, Epoch: 2}, key[n], 10))(c.t)
		c.expect("ack", a.ack(n, 1, kept(more[0])), "D")
		must1(c.s.Inspect().Key(c.ctx, "q", key[n]))(c.t)
	}
	permits := must1(c.ring.Permits(c.ctx, []int{0, 1, 2}))(c.t)
	for _, h := range permits {
		must(c.t, c.ring.Revoke(c.ctx, c.term, h))
	}
	must1(c.s.Inspect().QueueView(c.ctx, "q"))(c.t)
	must1(c.s.Inspect().Sightings(c.ctx, "q"))(c.t)
	signs(c, true, "a.1", "b.1")
	must1(c.s.Inspect().HeldKeys(c.ctx, "q", 10))(c.t)
	for p := range 3 {
		must(c.t, c.s.Inspect().OpenJobs(c.ctx, "q", p, job.EntryID{Ms: 1 << 60}, func([]OpenJob) {}))
	}
	must1(c.ring.Repair(c.ctx, c.term, []int{0, 1, 2}))(c.t)
	must1(c.s.Reclaim(c.ctx, "q", 0, "nobody"))(c.t)
	e := must1(c.ring.Look(c.ctx))(c.t).Epoch
	for sh := range c.q.Shards {
		must(c.t, b.member.Report(c.ctx, sh, e, 2, `{"epoch":"`+epochText(e)+`"}`))
	}
	must(c.t, c.ring.Advance(c.ctx, c.term, must1(c.ring.Look(c.ctx))(c.t)))
	must1(run(c.ctx, c.s, c.s.cmd, &c.s.scripts.confirm, c.s.shard(c.q, 0)))(c.t)
	must1(run(c.ctx, c.s, c.s.cmd, &c.s.scripts.request, c.s.shard(c.q, 0), "r1", "key", ""))(c.t)
	must(c.t, a.member.Leaving(c.ctx))
	must(c.t, a.member.Left(c.ctx))
	for _, evidence := range []string{"ttl", "deaf", "silent", "connection"} {
		must1(c.ring.Evict(c.ctx, c.term, "b.1", evidence, 0, 0, 2, 2, ""))(c.t)
	}
	must1(c.ring.Evict(c.ctx, c.term, "b.1", "decided", 0, 0, 0, 0, ""))(c.t)
	must(c.t, c.ring.Resign(c.ctx))
	if _, _, err := c.ring.Lead(c.ctx, time.Minute); err != nil {
		c.t.Fatal(err)
	}
	for i := range 6 { // idempotency keys and their jobs are in the same shard now and then
		_, errs := p.Enqueue(c.ctx, job.Job{Type: "t", Key: "x", IdempotencyKey: fmt.Sprintf("{i}%d", i)})
		if errs != nil {
			c.t.Fatal(errs)
		}
	}
}

var (
	luaString  = regexp.MustCompile(`'[^']*'`)
	keyPiece   = regexp.MustCompile(`^'(:|[a-z]+:)'$`)
	luaHelper  = regexp.MustCompile(`(?ms)^local function (\w+)(\(.*?^end$)`)
	luaCommand = regexp.MustCompile(`(?:redis\.p?call|try)\('([A-Z]+)', *('[A-Z]+', *)?([^,)]*)`)
)

// What neither server checks: functions that one of them lacks, and keys that do not
// come from the declared one.
func TestScriptsAreClean(t *testing.T) {
	files, err := fs.Glob(luaFiles, "lua/*.lua")
	must(t, err)
	for _, f := range files {
		raw, err := luaFiles.ReadFile(f)
		must(t, err)
		text := string(raw)
		part := strings.HasPrefix(f, "lua/part_")
		if !strings.HasPrefix(text, "-- ") {
			t.Errorf("%s: no comment at its head", f)
		}
		if !part && (!strings.Contains(text, "\n-- KEYS[1] ") || !regexp.MustCompile(`(?m)^-- Returns `).MatchString(text)) {
			t.Errorf("%s: its head must say what KEYS[1] is and what it returns", f)
		}
		for n, line := range strings.Split(text, "\n") {
			code, _, _ := strings.Cut(line, "--")
			for _, banned := range []string{"cjson", "cmsgpack", "bit.", "struct.", "'BLOCK'", "tostring(", "KEYS[2]", "#KEYS", "redis.log", "os."} {
				if strings.Contains(code, banned) {
					t.Errorf("%s:%d: %s", f, n+1, banned)
				}
			}
			for _, m := range luaCommand.FindAllStringSubmatch(code, -1) {
				if strings.HasPrefix(m[3], "'") || strings.HasPrefix(m[3], "ARGV") || m[3] == "" && m[1] != "TIME" {
					t.Errorf("%s:%d: %s on a key that is not built from the declared one", f, n+1, m[1])
				}
			}
			for _, at := range luaString.FindAllStringIndex(code, -1) {
				if !keyPiece.MatchString(code[at[0]:at[1]]) {
					continue
				}
				if !strings.HasSuffix(strings.TrimRight(code[:at[0]], " "), "..") {
					t.Errorf("%s:%d: a key must begin with K: %s", f, n+1, strings.TrimSpace(line))
				}
			}
		}
	}
}

// What two scripts need is in a part, once: no function stands in two files, under one name or another.
func TestNoFunctionIsInTwoScripts(t *testing.T) {
	files := must1(fs.Glob(luaFiles, "lua/*.lua"))(t)
	shared, bodies := map[string]string{}, map[string]string{}
	for _, parts := range []bool{true, false} {
		for _, f := range files {
			if strings.HasPrefix(f, "lua/part_") != parts {
				continue
			}
			for _, m := range luaHelper.FindAllStringSubmatch(string(must1(luaFiles.ReadFile(f))(t)), -1) {
				if of := shared[m[1]]; of != "" {
					t.Errorf("%s: %s is in %s", f, m[1], of)
				}
				if of := bodies[m[2]]; of != "" {
					t.Errorf("%s: %s is in %s too", f, m[1], of)
				}
				if bodies[m[2]] = f; parts {
					shared[m[1]] = f
				}
			}
		}
	}
	if len(shared) < 20 {
		t.Errorf("only %d shared functions were found", len(shared))
	}
}
