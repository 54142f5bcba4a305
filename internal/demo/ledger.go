package demo

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"ringmaster/job"
)

// A ledger is a file that one worker appends to: a line when a handler starts, a line
// when it ends, each written at once and by one write, so that a killed worker leaves
// whole lines. Fields are separated by tabs:
//
//	start  <ns since 1970>  <job id>  <attempt>  <fence>  <key, quoted>
//	end    the same, and the hash
type ledger struct {
	worker string
	file   *os.File
}

func openLedger(path, worker string) (*ledger, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	return &ledger{worker, f}, nil
}

func (l *ledger) write(what string, d job.Delivery, hash string) error {
	line := fmt.Sprintf("%s\t%d\t%s\t%d\t%d\t%s", what, time.Now().UnixNano(), d.ID, d.Attempt, uint64(d.Fence), strconv.Quote(d.Key))
	if hash != "" {
		line += "\t" + hash
	}
	if _, err := l.file.WriteString(line + "\n"); err != nil {
		return fmt.Errorf("write ledger: %w", err)
	}
	return nil
}

// hashFile is the demo's handler: it hashes the file that the payload names. It takes
// at least pace, so that a worker has jobs under way when it is killed; but not for the
// keys in unpaced.
func (l *ledger) hashFile(pace time.Duration, unpaced []string) func(context.Context, job.Delivery) (json.RawMessage, error) {
	return func(ctx context.Context, d job.Delivery) (json.RawMessage, error) {
		if err := l.write("start", d, ""); err != nil {
			return nil, err
		}
		var path string
		if err := json.Unmarshal(d.Payload, &path); err != nil {
			return nil, job.Skip(fmt.Errorf("the payload is not a path: %w", err))
		}
		wait := pace
		if slices.Contains(unpaced, d.Key) {
			wait = 0
		}
		timer := time.NewTimer(wait)
		defer timer.Stop()
		hash, err := sumFile(path)
		if err != nil {
			return nil, err
		}
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		if err := l.write("end", d, hash); err != nil {
			return nil, err
		}
		return json.Marshal(hash)
	}
}

func sumFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("hash: %w", err)
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("hash %s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// readLedger reads a ledger, also one that is still being written: of a last line
// without its end nothing is read.
func readLedger(path, worker string) ([]LedgerLine, error) {
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		return nil, nil // the worker has not come so far
	}
	if err != nil {
		return nil, fmt.Errorf("read ledger: %w", err)
	}
	defer func() { _ = f.Close() }()
	return parseLedger(f, worker)
}

func parseLedger(r io.Reader, worker string) ([]LedgerLine, error) {
	in := bufio.NewReader(r)
	var runs []LedgerLine
	for n := 1; ; n++ {
		line, err := in.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return runs, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read ledger of %s: %w", worker, err)
		}
		run, err := parseRun(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return nil, fmt.Errorf("ledger of %s, line %d: %w", worker, n, err)
		}
		run.Worker = worker
		runs = append(runs, run)
	}
}

func parseRun(line string) (LedgerLine, error) {
	f := strings.Split(line, "\t")
	if len(f) < 6 || (f[0] == "start") == (f[0] == "end") || (f[0] == "start") != (len(f) == 6) || len(f) > 7 {
		return LedgerLine{}, fmt.Errorf("not a line of a ledger: %.80q", line)
	}
	ns, err1 := strconv.ParseInt(f[1], 10, 64)
	attempt, err2 := strconv.Atoi(f[3])
	fence, err3 := strconv.ParseUint(f[4], 10, 64)
	key, err4 := strconv.Unquote(f[5])
	for _, err := range []error{err1, err2, err3, err4} {
		if err != nil {
			return LedgerLine{}, fmt.Errorf("not a line of a ledger: %.80q: %w", line, err)
		}
	}
	r := LedgerLine{JobID: f[2], Key: key, Attempt: attempt, Fence: fence, At: time.Unix(0, ns), Ended: f[0] == "end"}
	if r.Ended {
		r.Hash = f[6]
	}
	return r, nil
}

// open lists the jobs whose handler has started and not ended.
func open(runs []LedgerLine) []string {
	type attempt struct {
		id    string
		n     int
		fence uint64
	}
	under := map[attempt]bool{}
	for _, r := range runs {
		a := attempt{r.JobID, r.Attempt, r.Fence}
		if r.Ended {
			delete(under, a)
		} else {
			under[a] = true
		}
	}
	var ids []string
	for a := range under {
		ids = append(ids, a.id)
	}
	return ids
}
