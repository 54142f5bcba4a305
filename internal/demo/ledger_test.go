package demo

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ringmaster/job"
)

func delivery(key string, payload string) job.Delivery {
	return job.Delivery{ID: job.ID{Partition: 3, Entry: job.EntryID{Ms: 17, Seq: 2}}, Key: key, Attempt: 2, Fence: 1<<32 + 9, Payload: json.RawMessage(payload)}
}

func TestLedgerKeepsWhatTheHandlerDid(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "input")
	if err := os.WriteFile(file, []byte("abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "ledger")
	l, err := openLedger(path, "w1")
	if err != nil {
		t.Fatal(err)
	}
	key := "tab\t, quote \", line\n"
	payload, _ := json.Marshal(file)
	result, err := l.hashFile(time.Millisecond, nil)(context.Background(), delivery(key, string(payload)))
	const want = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	if err != nil || string(result) != `"`+want+`"` {
		t.Fatalf("result %s, error %v", result, err)
	}
	runs, err := readLedger(path, "w1")
	if err != nil || len(runs) != 2 {
		t.Fatalf("%d lines, error %v", len(runs), err)
	}
	s, e := runs[0], runs[1]
	if s.Ended || !e.Ended || e.Hash != want || e.At.Before(s.At.Add(time.Millisecond)) {
		t.Errorf("start %+v\nend %+v", s, e)
	}
	if s.JobID != "3-17-2" || s.Key != key || s.Attempt != 2 || s.Fence != 1<<32+9 || s.Worker != "w1" {
		t.Errorf("start %+v", s)
	}
}

func TestAFileThatIsGoneAndAHandlerThatIsStoppedLeaveNoEnd(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ledger")
	l, err := openLedger(path, "w1")
	if err != nil {
		t.Fatal(err)
	}
	handle := l.hashFile(time.Hour, []string{"fast"})
	if _, err := handle(context.Background(), delivery("k", `"`+filepath.Join(dir, "gone")+`"`)); err == nil {
		t.Error("a file that is gone was hashed")
	}
	if _, err := handle(context.Background(), delivery("k", `17`)); err == nil {
		t.Error("a payload that is no path was accepted")
	} else if dead, _ := job.Verdict(err); !dead {
		t.Error("a payload that is no path is tried again")
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(job.ErrStopping)
	if _, err := handle(ctx, delivery("k", `"`+path+`"`)); err == nil || err.Error() != job.ErrStopping.Error() {
		t.Errorf("stopped handler: %v", err)
	}
	if _, err := handle(context.Background(), delivery("fast", `"`+path+`"`)); err != nil {
		t.Errorf("unpaced: %v", err)
	}
	runs, err := readLedger(path, "w1")
	if err != nil {
		t.Fatal(err)
	}
	if got := open(runs); len(runs) != 5 || len(got) != 0 {
		t.Errorf("%d lines, open %v: the same delivery ended last", len(runs), got)
	}
}

func TestParseLedgerOfAKilledWorker(t *testing.T) {
	whole := "start\t5\t1-2-3\t1\t9\t\"k\"\n"
	runs, err := parseLedger(strings.NewReader(whole+whole[:10]), "w")
	if err != nil || len(runs) != 1 {
		t.Errorf("cut line: %d lines, %v", len(runs), err)
	}
	if got := open(runs); len(got) != 1 || got[0] != "1-2-3" {
		t.Errorf("open %v", got)
	}
	for _, bad := range []string{"", "start", "stop\t5\t1-2-3\t1\t9\t\"k\"", "start\tx\t1-2-3\t1\t9\t\"k\"", "start\t5\t1-2-3\tx\t9\t\"k\"",
		"start\t5\t1-2-3\t1\tx\t\"k\"", "start\t5\t1-2-3\t1\t9\tk", "end\t5\t1-2-3\t1\t9\t\"k\"", whole[:len(whole)-1] + "\thash"} {
		if _, err := parseLedger(strings.NewReader(bad+"\n"), "w"); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
	if runs, err := readLedger(filepath.Join(t.TempDir(), "none"), "w"); err != nil || runs != nil {
		t.Errorf("no ledger: %v, %v", runs, err)
	}
}
