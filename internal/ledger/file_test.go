package ledger

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ringmaster/job"
)

func TestRecordsAreReadAsWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w1.ledger")
	w, err := Create(path, "worker")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Create(path, "worker"); err == nil {
		t.Error("two lives of a process in one file")
	}
	full := Record{Kind: Start, Token: "p1-1", Key: "tab\tnewline\nü\x00", Job: job.ID{Partition: 3, Entry: job.EntryID{Ms: 17, Seq: 4}},
		Worker: "w1.x", Epoch: 1 << 63, Fence: 1<<64 - 1, Attempt: 2, Note: "\""}
	full.Run = w.Write(full)
	var got []Record
	tail := NewTail(path)
	read := func() (torn bool) {
		torn, err := tail.Read(func(r Record) { got = append(got, r) }, func(line string, err error) { t.Errorf("%q: %v", line, err) })
		if err != nil {
			t.Fatal(err)
		}
		return torn
	}
	read() // the process was killed here: nothing was closed or flushed
	full.Seq, full.At = 2, got[1].At
	if len(got) != 2 || got[0].Kind != Open || got[1] != full {
		t.Fatalf("read %+v, wrote %+v", got, full)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				w.Write(Record{Kind: Fault, Note: "n"})
			}
		})
	}
	wg.Wait()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if torn := read(); torn || len(got) != 803 {
		t.Fatalf("%d records, torn %v", len(got), torn)
	}
	for i, r := range got {
		if r.Seq != uint64(i+1) || i > 0 && r.At < got[i-1].At {
			t.Fatalf("record %d is %+v after %+v", i, r, got[i-1])
		}
	}
}

// Any byte that is changed, and any line that is cut, is no record any more.
func TestNoChangedLineIsARecord(t *testing.T) {
	r := Record{Seq: 12, At: 99, Kind: Accepted, Token: "p1-7", Job: job.ID{Partition: 1, Entry: job.EntryID{Ms: 5}}}
	line := strings.TrimSuffix(string(r.Append(nil)), "\n")
	if got, err := Parse(line); err != nil || got != r {
		t.Fatalf("%+v, %v", got, err)
	}
	for i := range line {
		if _, err := Parse(line[:i]); err == nil {
			t.Errorf("the first %d bytes are a record", i)
		}
		b := []byte(line)
		b[i] ^= 1
		if _, err := Parse(string(b)); err == nil {
			t.Errorf("a record although byte %d is changed", i)
		}
	}
}

func TestAHalfLineIsLeftForTheNextRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	a := Record{Seq: 1, At: 1, Kind: Open}
	line := string(a.Append(nil))
	if err := os.WriteFile(path, []byte(line+line[:10]), 0o600); err != nil {
		t.Fatal(err)
	}
	n := 0
	tail := NewTail(path)
	count := func(Record) { n++ }
	bad := func(line string, _ error) { t.Errorf("bad line %q", line) }
	if torn, err := tail.Read(count, bad); !torn || err != nil || n != 1 {
		t.Fatalf("torn %v, %v, %d records", torn, err, n)
	}
	if err := os.WriteFile(path, []byte(line+line), 0o600); err != nil {
		t.Fatal(err)
	}
	if torn, err := tail.Read(count, bad); torn || err != nil || n != 2 {
		t.Fatalf("torn %v, %v, %d records", torn, err, n)
	}
}

func FuzzParse(f *testing.F) {
	r := Record{Seq: 12, At: 99, Kind: Accepted, Token: "p1-7", Job: job.ID{Partition: 1, Entry: job.EntryID{Ms: 5}}}
	f.Add(strings.TrimSuffix(string(r.Append(nil)), "\n"))
	f.Add("00000000\t1\t2\topen")
	f.Fuzz(func(t *testing.T, line string) {
		r, err := Parse(line)
		if err != nil {
			return
		}
		again, err := Parse(strings.TrimSuffix(string(r.Append(nil)), "\n"))
		if err != nil || again != r {
			t.Errorf("%+v became %+v, %v", r, again, err)
		}
	})
}

// A job whose handler runs again, also at a worker that was cut off, has one effect at a
// sink that compares fences; a plain one has as many as there were runs.
func TestSinkTakesEachEffectOnce(t *testing.T) {
	defer goleak.VerifyNone(t)
	dir := t.TempDir()
	w, err := Create(filepath.Join(dir, "s.ledger"), "sink")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "s")
	s, err := NewSink(path, w)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var got []string
	for _, run := range []struct {
		ms    uint64
		key   string
		fence job.Fence
	}{{1, "a b\n", 5}, {1, "a b\n", 5}, {1, "a b\n", 6}, {2, "a b\n", 5}, {2, "a b\n", 6}, {1, "a b\n", 7}, {3, "a b\n", 6}, {3, "a b\n", 7}, {1, "", 2}, {2, "", 1}, {1, "", 3}} {
		answer, err := Put(ctx, path, job.Delivery{ID: job.ID{Entry: job.EntryID{Ms: run.ms}}, Key: run.key, Fence: run.fence})
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, answer)
	}
	want := []string{Took, Before, Before, Fenced, Took, Before, Fenced, Took, Took, Took, Before}
	if !slices.Equal(got, want) {
		t.Errorf("answers %v, want %v", got, want)
	}
	s.Close()
	if _, err := Put(ctx, path, job.Delivery{}); err == nil {
		t.Error("a closed sink answers")
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

var jobs = flag.Int("jobs", 30_000, "jobs of TestManyJobs; of 5000000 the checker takes less than a minute, making them up takes five")

// TestManyJobs: what the checker holds does not grow with the jobs it has settled; only with
// submissions that never came out, and with changes of owner.
func TestManyJobs(t *testing.T) {
	const window = 5000
	w := newWorld(1, 64, 1000)
	c := NewChecker(func(f Finding) { t.Fatal(f) })
	var spent time.Duration
	var early uint64
	for n := 0; n < *jobs; n += window {
		tr := w.window(window)
		clear(w.sink)
		texts := map[string]string{} // as they would stand in files
		for name, records := range tr.files {
			var b []byte
			for _, r := range records {
				b = r.Append(b)
			}
			texts[name] = string(b)
		}
		began := time.Now()
		for name, text := range texts {
			if _, _, err := Scan(strings.NewReader(text), func(r Record) { c.Record(name, r) }, func(l string, err error) { t.Fatal(l, err) }); err != nil {
				t.Fatal(err)
			}
		}
		tr.files = nil
		tr.feed(c)
		spent += time.Since(began)
		if n == window {
			early = held()
		}
	}
	late := held()
	r := c.Report()
	t.Logf("%d jobs, %d runs in %v: %.0f jobs/s; heap %d KiB after two windows, %d KiB at the end", r.Submitted, r.Runs, spent.Round(time.Millisecond),
		float64(r.Submitted)/spent.Seconds(), early>>10, late>>10)
	if grown, most := int64(late)-int64(early), int64(2<<20+512*(len(c.subs)+len(c.tenures))); grown > most {
		t.Errorf("the heap grew by %d KiB, %d are for what it has to remember", grown>>10, most>>10)
	}
	runtime.KeepAlive(c)
}

func held() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func ExampleChecker() {
	c := NewChecker(func(f Finding) { fmt.Println(f.Kind+":", f.Text) })
	id := job.ID{Entry: job.EntryID{Ms: 1}}
	c.Record("p1", Record{Seq: 1, At: 1, Kind: Open})
	c.Record("p1", Record{Seq: 2, At: 2, Kind: Invoke, Token: "p1-1", Key: "k"})
	c.Record("p1", Record{Seq: 3, At: 3, Kind: Accepted, Token: "p1-1", Job: id})
	c.Settle(true)
	// Output: lost: job 0-1-0 of p1-1 has no end (prefix)
}
