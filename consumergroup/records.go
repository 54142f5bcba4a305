package consumergroup

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"ringmaster/consumergroup/lanes"
	"ringmaster/job"
)

// completed is the end of an attempt that succeeded. A result that cannot be kept is an error.
func (w *Worker) completed(it *lanes.Item, result json.RawMessage) (job.Completion, error) {
	c := job.Completion{Outcome: job.Done, HasRetry: it.Entry.Retry != ""}
	if len(result) == 0 || string(result) == "null" {
		if it.Attempt == 1 {
			return c, nil
		}
		result = nil
	}
	if over := oversize(result, w.cfg.MaxResult); over > 0 {
		return c, fmt.Errorf("the result is %d bytes: the limit is %d (max_result_bytes)", over, w.cfg.MaxResult)
	}
	record, err := job.JSON(job.ResultRecord{Type: it.Entry.Type, Key: it.Entry.Key, Attempts: it.Attempt, Result: result, FinishedAt: endOf(it)})
	if err != nil {
		return c, errors.New("the result is not valid JSON")
	}
	c.Data = string(record)
	return c, nil
}

// oversize is how many bytes a result has if they are more than most, else 0. A string counts
// as its bare text, as the output of a command does that becomes one.
func oversize(result json.RawMessage, most int) int {
	const longest = 6 // bytes of JSON for one of a text
	n := len(result)
	if n <= most {
		return 0
	}
	if n <= longest*most+2 && bytes.HasPrefix(result, []byte{'"'}) {
		var text string
		if json.Unmarshal(result, &text) == nil {
			n = len(text)
		}
	}
	if n <= most {
		return 0
	}
	return n
}

// dead is the end of a job that will not run again. What was written by hand, and so may be of
// any size, is cut.
func (w *Worker) dead(it *lanes.Item, attempts int, reason string) job.Completion {
	e := &it.Entry
	letter := job.DeadLetter{ID: w.id(it), Partition: it.Tenure.Partition, Type: e.Type, Key: e.Key, Payload: e.Payload,
		Attempts: attempts, Crashes: it.Prior.Crashes, Error: reason, DiedAt: endOf(it).Format(job.TimeLayout)}
	if e.Broken != nil {
		letter.Raw = rawText(e.Broken.Fields)
	}
	raw, err := job.JSON(letter)
	if err != nil {
		letter.Payload = nil
		raw, _ = job.JSON(letter)
	}
	return job.Completion{Outcome: job.Buried, Data: string(raw), HasRetry: e.Retry != ""}
}

// A dead letter has so much of the fields of an entry that could not be decoded.
const (
	mostOfField  = 64 << 10
	mostOfFields = 1 << 20
)

func rawText(fields []string) []string {
	var out []string
	left := mostOfFields
	for _, f := range fields {
		f = f[:min(len(f), mostOfField, left)]
		left -= len(f)
		out = append(out, f)
		if left == 0 {
			break
		}
	}
	return out
}
