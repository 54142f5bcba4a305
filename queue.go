package ringmaster

import (
	"context"
	"encoding/json"
	"fmt"

	"ringmaster/internal/producing"
	"ringmaster/job"
)

// Queue hands jobs of one queue in and asks about them. Safe for concurrent use.
type Queue struct {
	c    *Client
	name string
}

// Name is the queue's name.
func (q *Queue) Name() string { return q.name }

// Submission is one job that is handed in.
type Submission struct {
	Type    string
	Payload any    // encoded as JSON, of at most 1 MiB; a json.RawMessage is taken as it is
	Key     string // see Key
	Once    string // see Once
}

// Option changes one submission.
type Option func(*Submission)

// Key puts the job behind all earlier ones of the same key: at most 512 bytes of UTF-8. A job
// without a key has no order.
func Key(key string) Option { return func(s *Submission) { s.Key = key } }

// Once makes a repeat under the same key answer with the first one's id, for a day: at most 256
// bytes of UTF-8. Another job under the same key is an ErrConflict.
func Once(idempotencyKey string) Option {
	return func(s *Submission) { s.Once = idempotencyKey }
}

func submission(jobType string, payload any, opts []Option) Submission {
	s := Submission{Type: jobType, Payload: payload}
	for _, o := range opts {
		o(&s)
	}
	return s
}

func (s Submission) job() (job.Job, error) {
	raw, as := s.Payload.(json.RawMessage)
	if !as {
		var err error
		if raw, err = json.Marshal(s.Payload); err != nil {
			return job.Job{}, fmt.Errorf("%w: encode payload: %w", ErrInvalid, err)
		}
	}
	return job.Job{Type: s.Type, Key: s.Key, IdempotencyKey: s.Once, Payload: raw}, nil
}

// Submitted is what became of one submission of many.
type Submitted struct {
	Receipt
	Err error // nil: the job is in
}

// Submit hands a job in and waits until the server has it, as durably as Config.Durability says.
// It blocks for as long as ctx allows, or the server's time-outs. After ErrOutcomeUnknown the job
// may be there; repeat it only if it was submitted with Once. A panic of the payload's MarshalJSON
// is the caller's; nothing was handed in then.
func (q *Queue) Submit(ctx context.Context, jobType string, payload any, opts ...Option) (Receipt, error) {
	all := q.SubmitAll(ctx, submission(jobType, payload, opts))
	return all[0].Receipt, all[0].Err
}

// SubmitAll hands many jobs in, which keep their order per key, and answers with one result for
// each. One that is invalid stops no other.
func (q *Queue) SubmitAll(ctx context.Context, jobs ...Submission) []Submitted {
	out := make([]Submitted, len(jobs))
	good, at := make([]job.Job, 0, len(jobs)), make([]int, 0, len(jobs))
	for i, s := range jobs {
		j, err := s.job()
		if err == nil {
			err = j.Validate()
		}
		if err != nil {
			out[i].Err = err
			continue
		}
		good, at = append(good, j), append(at, i)
	}
	if len(good) == 0 {
		return out
	}
	receipts, errs := q.c.producers.Enqueue(ctx, q.name, good)
	for i, k := range at {
		out[k].Receipt = receipts[i]
		if errs != nil {
			out[k].Err = errs[i]
		}
	}
	return out
}

// Job asks about a job. ErrNotFound: the queue has none of this id.
func (q *Queue) Job(ctx context.Context, id string) (Status, error) {
	return q.c.store.Inspect().Job(ctx, q.name, id)
}

// Wait waits until the job is completed or dead, or ctx ends; then it answers with the last state
// it saw, which always has the id, and the context's error. See Config.Logger for what it says
// meanwhile.
func (q *Queue) Wait(ctx context.Context, id string) (Status, error) {
	return producing.Await(ctx, q.c.store, q.name, id, producing.Waiting{Tell: q.waits})
}

func (q *Queue) waits(id, why string) {
	q.c.log.Warn("job waits", "queue", q.name, "job_id", id, "why", why)
}

// Call submits a job and waits for its result, which is decoded into result unless that is nil. It
// gets the one answer whatever is killed meanwhile: while the server does not answer it repeats
// the submission under the same idempotency key (that of Once, or one of its own), and goes on
// asking. It ends with ctx, at the latest after an hour, as Wait does, with the id if the job was
// handed in. ErrDead if the job will not complete. Panics of the payload's MarshalJSON and of the
// result's UnmarshalJSON are the caller's.
func (q *Queue) Call(ctx context.Context, jobType string, payload, result any, opts ...Option) (Status, error) {
	j, err := submission(jobType, payload, opts).job()
	if err != nil {
		return Status{}, err
	}
	st, err := producing.Call(ctx, q.c.store, q.name, j, q.waits)
	if err != nil {
		return st, err
	}
	if st.State == job.Dead {
		return st, fmt.Errorf("%w: %s", ErrDead, st.Error)
	}
	if result == nil || len(st.Result) == 0 {
		return st, nil
	}
	if err := json.Unmarshal(st.Result, result); err != nil {
		return st, fmt.Errorf("decode result: %w", err)
	}
	return st, nil
}
