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

	"ringmaster"
	"ringmaster/job"
	"ringmaster/streams"
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

// entries are the jobs of a queue that have an entry; none if there is no such queue.
func (r *Ring) entries(ctx context.Context, queue string) (map[string]Submitted, error) {
	store, err := streams.Open(streams.Options{Client: r.admin.redis})
	if err != nil {
		return nil, err
	}
	defer store.Close()
	all, err := store.Inspect().Entries(ctx, queue)
	if err != nil && !errors.Is(err, ringmaster.ErrNotFound) {
		return nil, err
	}
	found := map[string]Submitted{}
	for id, e := range all {
		found[id.String()] = Submitted{ID: id.String(), Type: e.Type, Key: e.Key, Payload: e.Payload}
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
