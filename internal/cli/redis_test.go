package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"ringmaster/internal/redistest"
	"ringmaster/job"
	"ringmaster/streams"
)

// server starts a Redis and returns a way to call ringctl on it.
func server(t *testing.T) (url string, ringctl func(stdin string, args ...string) outcome) {
	t.Helper()
	url = redistest.Real(t).URL()
	return url, func(stdin string, args ...string) outcome {
		t.Helper()
		return call(t, Ringctl, stdin, append(args, "--redis", url)...)
	}
}

func keysOf(t *testing.T, object string) []string {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(object))
	if _, err := dec.Token(); err != nil {
		t.Fatalf("%q: %v", object, err)
	}
	var keys []string
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			t.Fatalf("%q: %v", object, err)
		}
		keys = append(keys, fmt.Sprint(token))
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			t.Fatalf("%q: %v", object, err)
		}
	}
	return keys
}

func wantKeys(t *testing.T, object string, want string) {
	t.Helper()
	if strings.Count(object, "\n") != 1 {
		t.Errorf("not one line: %q", object)
	}
	if got := keysOf(t, object); !reflect.DeepEqual(got, strings.Fields(want)) {
		t.Errorf("keys %v, want %s", got, want)
	}
}

func TestExitCodesOfAnsweredCommands(t *testing.T) {
	_, ringctl := server(t)
	if got := ringctl("", "queue", "create", "q", "--partitions", "4"); got.code != exitDone {
		t.Fatalf("create: %+v", got)
	}
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"queue get nope", exitNotFound, "nope"},
		{"ring get nope", exitNotFound, "nope"},
		{"ring history nope", exitNotFound, "nope"},
		{"ring resize nope", exitNotFound, "nope"},
		{"workers ls nope", exitNotFound, "nope"},
		{"workers drain nope", exitNotFound, "nope"},
		{"key get nope k", exitNotFound, "nope"},
		{"dead ls nope", exitNotFound, "nope"},
		{"job get nope 1-1-1", exitNotFound, "nope"},
		{"job get q 1-99999-0", exitNotFound, "1-99999-0"},
		{"job get q 9-1-1", exitNotFound, "9-1-1"},
		{"job get q abc", exitUsage, "abc"},
		{"job get q 1-1-1-1", exitUsage, "1-1-1-1"},
		{"job wait q 1-99999-0", exitNotFound, "1-99999-0"},
		{"dead rm q 1-1-1 1-2-2", exitNotFound, "1-1-1"},
		{"dead requeue q 1-1-1", exitNotFound, "1-1-1"},
		{"queue create q --partitions 8", exitConflict, "4 partitions"},
		{"queue create q --journal", exitConflict, "journal"},
		{"queue create q", exitDone, ""},
		{"queue create q --partitions 4", exitDone, ""},
		{"queue ls", exitDone, ""},
		{"workers ls", exitDone, ""},
		{"dead ls q", exitDone, ""},
	} {
		t.Run(c.args, func(t *testing.T) {
			got := ringctl("", strings.Fields(c.args)...)
			if got.code != c.code || !strings.Contains(got.stderr, c.says) {
				t.Errorf("exit %d, want %d; stderr %q", got.code, c.code, got.stderr)
			}
			if (got.code == exitDone) != (got.stderr == "") || (got.code != exitDone && got.stdout != "") {
				t.Errorf("stdout %q, stderr %q", got.stdout, got.stderr)
			}
		})
	}
}

func TestShapesOfJSON(t *testing.T) {
	_, ringctl := server(t)
	receipt := ringctl("", "submit", "q", "--type", "t", "--key", "k", "--payload", "hi", "-o", "json")
	wantKeys(t, receipt.stdout, "id partition duplicate")
	var r job.Receipt
	if err := json.Unmarshal([]byte(receipt.stdout), &r); err != nil {
		t.Fatal(err)
	}
	status := ringctl("", "job", "get", "q", r.ID, "-o", "json").stdout
	wantKeys(t, status, "id queue type key partition state attempts result error enqueued_at finished_at why") // nobody owns its partition
	if !strings.Contains(status, `"state":"waiting"`) || !strings.Contains(status, `"result":null`) {
		t.Errorf("status %s", status)
	}
	if got := ringctl("", "job", "wait", "q", r.ID, "--timeout", "1ms", "-o", "json"); got.code != exitFailure || got.stdout != status {
		t.Errorf("wait: %+v", got)
	}
	ring := ringctl("", "ring", "get", "q", "-o", "jsonl").stdout
	wantKeys(t, ring, "queue epoch phase mode leader members partitions")
	if !strings.Contains(ring, `"members":[]`) || !strings.Contains(ring, `{"partition":63,"owner":"-","epoch":0,"pending":0,"draining":0}]`) {
		t.Errorf("ring %s", ring)
	}
	if got := ringctl("", "key", "get", "q", "k", "-o", "json").stdout; !strings.Contains(got, `"id":"`+r.ID+`"`) {
		t.Errorf("key get: %s", got)
	}
	for _, args := range []string{"workers ls", "dead ls q"} {
		if got := ringctl("", append(strings.Fields(args), "-o", "json")...).stdout; got != "[]\n" {
			t.Errorf("%s: an empty list is %q", args, got)
		}
		if got := ringctl("", append(strings.Fields(args), "-o", "jsonl")...).stdout; got != "" {
			t.Errorf("%s: an empty list is %q", args, got)
		}
	}
	ringctl("", "queue", "create", "second", "--partitions", "1")
	array := ringctl("", "queue", "ls", "-o", "json").stdout
	var queues []map[string]any
	if err := json.Unmarshal([]byte(array), &queues); err != nil || len(queues) != 2 || strings.Count(array, "\n") != 1 {
		t.Errorf("queue ls: %s, %v", array, err)
	}
	if lines := ringctl("", "queue", "ls", "-o", "jsonl").stdout; strings.Count(lines, "\n") != 2 {
		t.Errorf("queue ls as lines: %s", lines)
	}
	table := strings.Fields(strings.Split(ringctl("", "queue", "ls").stdout, "\n")[0])
	if table[0] != "QUEUE" || !slices.Contains(table, "WAITING") {
		t.Errorf("header %v", table)
	}
	history := ringctl("", "ring", "history", "q", "-o", "json")
	if history.code != exitDone || !strings.HasPrefix(history.stdout, "[") {
		t.Errorf("history: %+v", history)
	}
}

func TestSubmitLines(t *testing.T) {
	url, ringctl := server(t)
	long := strings.Repeat("x", job.MaxPayloadBytes+1)
	lines := []struct{ text, says string }{
		{`{"type":"t","key":"k","payload":{"n":1}}`, ""},
		{`{"type":"t","key":"k","payload":2,"idempotency_key":"once"}`, ""},
		{`{"type":"t","key":"k","payload":3}`, ""},
		{``, ""},
		{`{"type":"t","key":"k","payload":null,"idempotency_key":null}`, ""},
		{`{"type":null}`, `field "type": want a string`},
		{`{"key":"k"}`, "type is required"},
		{`{"type":"t","key":7}`, `field "key": want a string, in quotes, got 7`},
		{`{"type":"t","type":"u"}`, "twice"},
		{`{"type":"t","prio":1}`, `unknown field "prio"`},
		{`{"type":"t","delay":"10s"}`, `unknown field "delay"`},
		{`{"type":"t"} {}`, "follows"},
		{`{"type":"t"`, "not JSON: it ends too early"},
		{`[1]`, "want a JSON object"},
		{`garbage`, "want a JSON object"},
		{`{"type":"t","idempotency_key":""}`, "is empty: leave it out"},
		{`{"type":"t","payload":"\ud800"}`, "surrogate"},
		{`{"type":"t","payload":` + strings.Repeat("[", 600) + strings.Repeat("]", 600) + `}`, "nests deeper than 512"},
		{"{\"type\":\"t\",\"key\":\"\xff\"}", "UTF-8"},
		{`{"type":"t","payload":"` + long + `"}`, "limit"},
		{`{"type":"t","key":"` + strings.Repeat("k", 513) + `"}`, "512"},
		{`{"type":"t","payload":5,"key":"k","idempotency_key":"once"}`, "idempotency key"},
		{`{"type":"t","key":"k","payload":4}`, ""},
	}
	var in []string
	good := 0
	for _, l := range lines {
		in = append(in, l.text)
		if l.says == "" && l.text != "" {
			good++
		}
	}
	got := ringctl("\ufeff"+strings.Join(in, "\r\n"), "submit", "q")
	if got.code != exitFailure {
		t.Errorf("exit %d", got.code)
	}
	ids := strings.Fields(got.stdout)
	if len(ids) != good {
		t.Errorf("%d ids, want %d: %q", len(ids), good, got.stdout)
	}
	for i, l := range lines {
		prefix := fmt.Sprintf("line %d: ", i+1)
		var said string
		for _, line := range strings.Split(got.stderr, "\n") {
			if rest, ok := strings.CutPrefix(line, prefix); ok {
				said = rest
			}
		}
		if (said == "") != (l.says == "") || !strings.Contains(said, l.says) {
			t.Errorf("line %d, %.60q: said %q, want %q", i+1, l.text, said, l.says)
		}
	}
	inOrder(t, url, ids)
	again := ringctl(lines[1].text, "submit", "q", "-o", "json")
	if again.code != exitDone || !strings.Contains(again.stdout, `"id":"`+ids[1]+`"`) || !strings.Contains(again.stdout, `"duplicate":true`) {
		t.Errorf("repeat: %+v", again)
	}
	single := ringctl("", "submit", "q", "--type", "t", "--payload", "other", "--idempotency-key", "once")
	if single.code != exitConflict {
		t.Errorf("another body under the same key: %+v", single)
	}
}

// inOrder: ids of one key rise in the order of the lines.
func inOrder(t *testing.T, url string, ids []string) {
	t.Helper()
	store, err := streams.Open(streams.Options{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	var last job.EntryID
	for _, text := range ids {
		id, err := job.ParseID(text)
		if err != nil {
			t.Fatal(err)
		}
		if id.Partition != job.PartitionOf("k", job.DefaultParts) || !last.Less(id.Entry) {
			t.Errorf("ids %v are not in the order of the lines", ids)
		}
		last = id.Entry
	}
}

func TestSubmitAnswersASlowWriter(t *testing.T) {
	url, _ := server(t)
	in, writer := io.Pipe()
	out := newSeen()
	ended := make(chan int, 1)
	go func() {
		ended <- Ringctl(t.Context(), Env{Args: []string{"submit", "q", "--redis", url}, Stdin: in, Stdout: out, Stderr: io.Discard})
	}()
	for range 3 {
		if _, err := io.WriteString(writer, "{\"type\":\"t\"}\n"); err != nil {
			t.Fatal(err)
		}
		out.await(t, "\n")
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	if code := <-ended; code != exitDone {
		t.Errorf("exit %d", code)
	}
}

func TestSubmitMoreThanABatch(t *testing.T) {
	_, ringctl := server(t)
	var in strings.Builder
	const jobs = 2*batchJobs + 7
	for n := range jobs {
		fmt.Fprintf(&in, "{\"type\":\"t\",\"key\":\"k%d\",\"payload\":%d}\n", n%10, n)
	}
	got := ringctl(in.String(), "submit", "q")
	if got.code != exitDone || strings.Count(got.stdout, "\n") != jobs {
		t.Errorf("exit %d, %d ids, stderr %q", got.code, strings.Count(got.stdout, "\n"), got.stderr)
	}
}

func TestAControlCharacterOfAKeyDoesNotReachTheTerminal(t *testing.T) {
	_, ringctl := server(t)
	id := strings.TrimSpace(ringctl("", "submit", "q", "--type", "t", "--key", "\x1b[31mred\n").stdout)
	got := ringctl("", "job", "get", "q", id)
	if got.code != exitDone || strings.Contains(got.stdout, "\x1b") || !strings.Contains(got.stdout, `\x1b[31mred\n`) {
		t.Errorf("%q", got.stdout)
	}
}

func TestStdoutThatIsGone(t *testing.T) {
	url, _ := server(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	defer func() { _ = w.Close() }()
	var errs strings.Builder
	code := Ringctl(t.Context(), Env{Args: []string{"submit", "q", "--type", "t", "--redis", url}, Stdout: w, Stderr: &errs})
	if code == exitDone || errs.String() != "" {
		t.Errorf("exit %d, stderr %q", code, errs.String())
	}
}

func TestPasswordFileIsUsed(t *testing.T) {
	server := redistest.Real(t)
	url := server.URL()
	conn, err := net.Dial("tcp", server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 5)
	if _, err := io.WriteString(conn, "CONFIG SET requirepass hunter2\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != "+OK\r\n" {
		t.Fatalf("set a password: %q, %v", answer, err)
	}
	_ = conn.Close() // nothing more is asked
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := call(t, Ringctl, "", "queue", "ls", "--redis", url, "--redis-password-file", file); got.code != exitDone {
		t.Errorf("%+v", got)
	}
	got := call(t, Ringctl, "", "queue", "ls", "--redis", url)
	if got.code != exitUnreachable || !strings.Contains(got.stderr, "NOAUTH") || strings.Contains(got.stderr, "no answer") {
		t.Errorf("without: %+v", got)
	}
}
