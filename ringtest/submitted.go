package ringtest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"ringmaster/job"
)

// Submitted is a job that somebody has handed in.
type Submitted struct {
	ID      string
	Type    string
	Key     string
	Payload json.RawMessage
}

func (s Submitted) String() string {
	key := ""
	if s.Key != "" {
		key = " key " + s.Key
	}
	return fmt.Sprintf("%s %s%s %s", s.ID, s.Type, key, s.Payload)
}

// Submitted lists what was handed in to a queue, by whomever, in the order of the store: jobs that
// wait, run, or were run by workers of this ring.
func (r *Ring) Submitted(queue string) []Submitted {
	r.t.Helper()
	ctx, cancel := r.patient()
	defer cancel()
	found, err := r.entries(ctx, queue)
	if err != nil {
		r.t.Fatalf("look for the jobs of %s: %v", queue, err)
	}
	for _, a := range r.runs.all() { // an entry goes when its job has ended
		if a.Queue == queue {
			found[a.ID] = Submitted{ID: a.ID, Type: a.Type, Key: a.Key, Payload: a.Payload}
		}
	}
	out := make([]Submitted, 0, len(found))
	for _, s := range found {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b Submitted) int { return inOrder(a.ID, b.ID) })
	return out
}

// inOrder compares ids: by the store's time, then by partition.
func inOrder(a, b string) int {
	x, err1 := job.ParseID(a)
	y, err2 := job.ParseID(b)
	if err1 != nil || err2 != nil {
		return strings.Compare(a, b)
	}
	return cmp.Or(x.Entry.Compare(y.Entry), cmp.Compare(x.Partition, y.Partition))
}

// entries reads the streams of a queue: docs/wire.md says what is in them.
func (r *Ring) entries(ctx context.Context, queue string) (map[string]Submitted, error) {
	found := map[string]Submitted{}
	raw, err := r.admin.redis.HGet(ctx, "rm:queues", queue).Bytes()
	if errors.Is(err, redis.Nil) {
		return found, nil
	}
	if err != nil {
		return nil, err
	}
	var q struct{ Partitions, Shards int }
	if err := json.Unmarshal(raw, &q); err != nil {
		return nil, fmt.Errorf("record of the queue: %w", err)
	}
	for p := range q.Partitions {
		shard := queue
		if q.Shards > 1 {
			shard = fmt.Sprintf("%s/%d", queue, p%q.Shards)
		}
		entries, err := r.admin.redis.XRange(ctx, fmt.Sprintf("rm:{%s}:jobs:%d", shard, p), "-", "+").Result()
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			id, ok := job.ParseEntryID(e.ID)
			if !ok {
				continue
			}
			var fields []string
			for name, v := range e.Values {
				fields = append(fields, name, fmt.Sprint(v))
			}
			d := job.DecodeEntry(id, fields, p, q.Partitions)
			full := job.ID{Partition: p, Entry: id}.String()
			found[full] = Submitted{ID: full, Type: d.Type, Key: d.Key, Payload: d.Payload}
		}
	}
	return found, nil
}

// sameJSON reports whether two texts say the same, in whatever order of keys.
func sameJSON(a, b []byte) bool {
	x, err1 := decoded(a)
	y, err2 := decoded(b)
	return err1 == nil && err2 == nil && reflect.DeepEqual(x, y)
}

func decoded(raw []byte) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	err = d.Decode(&v)
	return v, err
}
