package streams

import (
	"reflect"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"ringmaster/job"
)

// FuzzRecords: what somebody wrote by hand into our records is read as written, or not at
// all.
func FuzzRecords(f *testing.F) {
	for _, s := range []string{
		"", "w.1 1", "w.1  1", "w.1 -1", "w.1 18446744073709551616", " 1", "- 0", "w.1@3", "@3", "w@1@2", "w.1@x", "1|2|3|s|error", "||||", "1|99999999999999999999|0||",
		`{"id":"1-2-3","payload":{"n":1}}`, "{", `{"payload":1e400}`, "[]", "\xff", "1-2", "18446744073709551615-18446744073709551615", "9999999999999-0", "-1-0", "0001-0",
		`{"partitions":0}`, `{"partitions":65536,"shards":1}`, `{"partitions":64,"shards":1}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if inc, epoch, ok := ownerRecord(s); ok {
			if again, e, ok := ownerRecord(inc + " " + epochText(epoch)); !ok || again != inc || e != epoch || inc == "" {
				t.Fatalf("owner %q is read as %q, %d", s, inc, epoch)
			}
		}
		if inc, epoch, ok := holder(s); ok {
			if again, e, ok := holder(inc + "@" + epochText(epoch)); !ok || again != inc || e != epoch {
				t.Fatalf("holder %q is read as %q, %d", s, inc, epoch)
			}
		}
		if id, ok := job.ParseEntryID(s); ok && id.String() != s {
			t.Fatalf("entry id %q is read as %s", s, id)
		}
		if d, ok := parseDeadLetter("1-2-3", s); d.ID != "1-2-3" || d.Partition != 1 || (!ok && (len(d.Raw) != 1 || d.Error == "")) {
			t.Fatalf("dead letter %q is read as %+v", s, d)
		}
		if r := readRetry(s); r.Attempts < 0 {
			t.Fatalf("retry record %q is read as %+v", s, r)
		}
		store := &Store{queues: map[string]Queue{}}
		if q, err := store.remember("q", s); err == nil && (q.Validate() != nil || q.Name != "q") {
			t.Fatalf("queue %q is read as %+v", s, q)
		} else if err != nil && !strings.Contains(err.Error(), "queue q") {
			t.Fatalf("the error does not name the queue: %v", err)
		}
		row := redis.XMessage{ID: s, Values: map[string]any{"id": s, "outcome": s, "epoch": s, "attempt": s, "data": s, "phase": s, "type": s}}
		_, _ = journalEntry(row), historyEntry(row) // no panic
	})
}

// FuzzAnswers: scripts answer nested lists; entries of a stream may hold anything, and be
// gone. Whatever comes, each entry is one job or broken, and keeps its id.
func FuzzAnswers(f *testing.F) {
	f.Add("1-0", "type", "t", "key", "k", int64(1))
	f.Add("1-0", "type", "t", "type", "u", int64(0))
	f.Add("x", "", "", "", "", int64(-1))
	f.Add("18446744073709551616-0", "a", "b", "payload", "\xff", int64(2))
	f.Fuzz(func(t *testing.T, id, a, b, c, d string, n int64) {
		for _, rows := range [][]any{
			{[]any{id, []any{a, b, c, d}}, []any{id, nil}}, {[]any{id, nil}, []any{id, []any{}}}, {[]any{id, []any{a}}}, {[]any{id}}, {[]any{}}, {nil}, {n}, {a},
			{[]any{n, []any{n, a}}}, {[]any{id, []any{a, n}}}, {[]any{id, []any{a, b}, c}},
		} {
			read, ok := readRows(rows)
			if !ok && read != nil && len(read) > len(rows) {
				t.Fatalf("%d rows", len(read))
			}
			for _, e := range decode(read, nil, 0, 1) {
				if e.Broken == nil && !job.ValidName(e.Type) {
					t.Fatalf("taken: %+v", e)
				}
			}
		}
		values := []any{n, a, id, nil, []any{a, b, c, d}, []any{a, b, "1", d}, []any{n, n}, []any{id, []any{a, b}}, []any{[]any{id, []any{a, b, c, d}}}, []any{}}
		for _, sc := range new(scripts).all() {
			for i := range values {
				sc.accepts(values[i]) // no panic
				sc.accepts(append(append([]any{"OK"}, values[i:]...), values[:i]...))
				sc.accepts(append(append([]any{}, values[i:]...), values[:i]...))
			}
		}
	})
}

// FuzzReadReply: whatever bytes come as the reply to a read, each entry of it is one job or
// broken, or the reply as a whole is refused.
func FuzzReadReply(f *testing.F) {
	const rows = "*2\r\n*2\r\n$3\r\n1-0\r\n*4\r\n$4\r\ntype\r\n$1\r\nt\r\n$3\r\nkey\r\n$1\r\nk\r\n*2\r\n$3\r\n2-0\r\n*-1\r\n"
	for _, s := range []string{
		"", "*-1\r\n", "_\r\n", "-NOGROUP no such group\r\n", "!5\r\nERR x\r\n", "+OK\r\n", "*1\r\n", "%1\r\n", "$99\r\nx\r\n", "*1\r\n*2\r\n$1\r\n",
		"*1\r\n*2\r\n$6\r\njobs:0\r\n" + rows, "%1\r\n$6\r\njobs:0\r\n" + rows, "*1\r\n*2\r\n$5\r\ninbox\r\n" + rows, "*1\r\n*2\r\n$6\r\njobs:0\r\n*999999999\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r := &Reader{q: Queue{Partitions: 1}, inbox: "inbox"}
		b, err := r.batch(raw)
		if err != nil && len(b.Jobs)+len(b.Control) > 0 {
			t.Fatalf("refused and taken: %v, %+v", err, b)
		}
		for _, pe := range b.Jobs {
			for _, e := range pe.Entries {
				if e.Broken == nil && !job.ValidName(e.Type) {
					t.Fatalf("taken: %+v", e)
				}
			}
		}
	})
}

// The same rows in both forms of the protocol, beside the generic reader of answers.
func TestReadReply(t *testing.T) {
	const rows = "*3\r\n" +
		"*2\r\n$3\r\n1-0\r\n*8\r\n$4\r\ntype\r\n$1\r\nt\r\n$3\r\nkey\r\n$1\r\nk\r\n$7\r\npayload\r\n$7\r\n{\"n\":1}\r\n$4\r\nmeta\r\n$0\r\n\r\n" +
		"*2\r\n$3\r\n2-0\r\n*-1\r\n" +
		"*2\r\n$3\r\n3-0\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n"
	plain, ok := readRows([]any{[]any{"1-0", []any{"type", "t", "key", "k", "payload", `{"n":1}`, "meta", ""}}, []any{"2-0", nil}, []any{"3-0", []any{"a", "b"}}})
	if !ok {
		t.Fatal("the rows are none")
	}
	want := decode(plain, nil, 7, 1)
	for _, head := range []string{"*2\r\n*2\r\n$5\r\ninbox\r\n*1\r\n*2\r\n$3\r\n9-0\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n*2\r\n$6\r\njobs:7\r\n",
		"%2\r\n$5\r\ninbox\r\n*1\r\n*2\r\n$3\r\n9-0\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n$6\r\njobs:7\r\n"} {
		r := &Reader{q: Queue{Partitions: 1}, inbox: "inbox"}
		raw := []byte(head + rows)
		b, err := r.batch(raw)
		clear(raw)
		if err != nil || len(b.Control) != 1 || b.Control[0].ID != "9-0" || b.Control[0].Fields["a"] != "b" {
			t.Fatalf("%+v, %v", b, err)
		}
		if len(b.Jobs) != 1 || b.Jobs[0].Partition != 7 || !reflect.DeepEqual(b.Jobs[0].Entries, want) {
			t.Fatalf("got  %+v\nwant %+v", b.Jobs, want)
		}
	}
}

// A read's memory is used again by the next one; what was copied out of its entries is not.
func TestReadsShareNothingWithWhatWasTaken(t *testing.T) {
	reply := func(id, payload string) []byte {
		return []byte("*1\r\n*2\r\n$6\r\njobs:0\r\n*1\r\n*2\r\n$3\r\n" + id + "\r\n*6\r\n$4\r\ntype\r\n$1\r\nt\r\n$3\r\nkey\r\n$1\r\nk\r\n$7\r\npayload\r\n$3\r\n" + payload + "\r\n")
	}
	r := &Reader{q: Queue{Partitions: 1}, inbox: "inbox"}
	first := reply("1-0", "111")
	b, err := r.batch(first)
	if err != nil {
		t.Fatal(err)
	}
	taken := b.Jobs[0].Entries[0]
	r.forget()
	copy(first, reply("2-0", "222")) // the connection's memory is used again too
	if b, err = r.batch(reply("2-0", "222")); err != nil || string(b.Jobs[0].Entries[0].Payload) != "222" {
		t.Fatalf("%+v, %v", b, err)
	}
	if taken.ID.String() != "1-0" || taken.Type != "t" || taken.Key != "k" || string(taken.Payload) != "111" {
		t.Errorf("what was taken is now %+v", taken)
	}
}
