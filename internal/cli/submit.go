package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"ringmaster/internal/producing"
	"ringmaster/job"
	"ringmaster/streams"
)

// submitTimeout is how long one batch waits for a server that has gone away.
const submitTimeout = 10 * time.Second

type submitFlags struct {
	kind, key, payload, idempotencyKey string
	wait                               bool
}

func (s *session) submit() *cobra.Command {
	var f submitFlags
	cmd := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "submit QUEUE [--type T --key K --payload P | < jobs.ndjson]",
		Short:                 "Submit one job, or one for each line of standard input",
		Long: `submit adds one job to a queue, or, without --type, one for each line of standard
input. A line is a JSON object with "type" and optionally "key", "payload" and
"idempotency_key". A line that is not valid is refused with its number on stderr; the
others go in, and the exit code is then 1.

It prints one id a line, or with -o json one object; with --wait how each job ended,
once it has: its id, its state, and its result or error. A payload that is not valid JSON
is taken as a JSON string. The queue is created at first use.`,
		Example: `  ringctl submit mails --type echo --key customer-42 --payload '{"n":1}' --wait
  ringctl submit files < jobs.ndjson`,
		Args: exactArgs(1),
	}
	flags := cmd.Flags()
	flags.StringVar(&f.kind, "type", "", "type of the job, by which workers choose its handler")
	flags.StringVar(&f.key, "key", "", "jobs of one key run in order; empty: no order")
	flags.StringVar(&f.payload, "payload", "", "what the handler is given")
	flags.StringVar(&f.idempotencyKey, "idempotency-key", "", "submitting again with the same key adds nothing and answers with the same id")
	flags.BoolVar(&f.wait, "wait", false, "wait until the jobs are done; exit 1 if one is dead")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := job.CheckName("queue", args[0]); err != nil {
			return err
		}
		if cmd.Flags().Changed("idempotency-key") && f.idempotencyKey == "" {
			return usage("--idempotency-key is empty: a repeat would not be known as one")
		}
		single := cmd.Flags().Changed("type")
		var one job.Job
		if single {
			var err error
			if one, err = f.job(); err != nil {
				return err
			}
		} else {
			for _, name := range []string{"key", "payload", "idempotency-key"} {
				if cmd.Flags().Changed(name) {
					return usage("--%s needs --type; without --type, jobs are read from standard input", name)
				}
			}
		}
		return s.connected(func(ctx context.Context, c *connection, args []string) error {
			q, err := c.CreateQueue(ctx, streams.Queue{Name: args[0]})
			if err != nil {
				return err
			}
			sub := &submission{connection: c, session: s, stderr: s.env.Stderr, queue: q.Name, wait: f.wait, producer: c.NewProducer(q)}
			defer sub.producer.Close()
			if single {
				return sub.one(ctx, one)
			}
			if isTerminal(s.env.Stdin) {
				_, _ = fmt.Fprintln(s.env.Stderr, "reading jobs from this terminal, one JSON object a line; end with Ctrl-D")
			}
			return sub.lines(ctx, s.env.Stdin)
		})(cmd, args)
	}
	return cmd
}

func (f submitFlags) job() (job.Job, error) {
	j := job.Job{Type: f.kind, Key: f.key, IdempotencyKey: f.idempotencyKey}
	if f.payload != "" {
		payload, ok := job.TextPayload(f.payload)
		if !ok {
			return j, usage("--payload is neither JSON nor UTF-8 text")
		}
		j.Payload = payload
	}
	return j, j.Validate()
}

func isTerminal(f any) bool {
	file, ok := f.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// submission is one run of submit.
type submission struct {
	*connection
	session  *session
	stderr   io.Writer
	queue    string
	wait     bool
	producer *streams.Producer

	seen    int // lines that were read and are not empty
	refused int // lines, or jobs, that did not go in
	dead    int // jobs that were waited for and died
}

// submitted is a line of -o json; with --wait it says how the job ended.
type submitted struct {
	job.Receipt
	State  job.State       `json:"state,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
	Error  string          `json:"error,omitempty"`
}

func (s *submission) one(ctx context.Context, j job.Job) error {
	receipts, errs := s.enqueue(ctx, []job.Job{j})
	if errs != nil {
		return errs[0]
	}
	if err := s.answer(ctx, receipts); err != nil {
		return err
	}
	return s.verdict()
}

func (s *submission) enqueue(ctx context.Context, jobs []job.Job) ([]job.Receipt, []error) {
	ctx, cancel := context.WithTimeout(ctx, submitTimeout+job.OnItsWay(job.Bytes(jobs)))
	defer cancel()
	receipts, errs := s.producer.Enqueue(ctx, jobs...)
	for i, err := range errs {
		if errors.Is(err, job.ErrOutcomeUnknown) {
			errs[i] = fmt.Errorf("%w; submit it again under the same idempotency key, and it is added once", err)
		}
	}
	return receipts, errs
}

// answer prints receipts and, where asked to, waits for their jobs. A receipt without
// an id is of a job that was refused.
func (s *submission) answer(ctx context.Context, receipts []job.Receipt) error {
	var out strings.Builder
	for _, r := range receipts {
		switch {
		case r.ID == "":
		case s.wait: // it is told with its end
		case s.out.format == "table":
			out.WriteString(r.ID + "\n")
		default:
			line, err := json.Marshal(r)
			if err != nil {
				return fmt.Errorf("encode the receipt: %w", err)
			}
			out.Write(append(line, '\n'))
		}
	}
	if _, err := io.WriteString(s.out.w, out.String()); err != nil {
		return fmt.Errorf("write the ids: %w", err)
	}
	if !s.wait {
		return nil
	}
	for i, r := range receipts {
		if r.ID == "" {
			continue
		}
		if err := s.await(ctx, r); err != nil {
			s.goesOn(receipts[i:])
			return err
		}
	}
	return nil
}

// goesOn names the jobs that are not waited for after all: their ids were not printed.
func (s *submission) goesOn(receipts []job.Receipt) {
	for _, r := range receipts {
		if r.ID != "" {
			s.session.note("job %s was submitted, and goes on; 'ringctl job wait %s %s' waits for it", r.ID, s.queue, r.ID)
		}
	}
}

func (s *submission) await(ctx context.Context, r job.Receipt) error {
	status, err := producing.Await(ctx, s.Store, s.queue, r.ID, s.session.waiting(0))
	if err != nil && !errors.Is(err, job.ErrUnknownJob) {
		return err
	}
	if status.State != job.Completed {
		s.dead++
	}
	if s.out.format != "table" {
		return s.out.encode(submitted{r, status.State, status.Result, status.Error})
	}
	text := fmt.Sprintf("%s %s", status.ID, status.State)
	if status.Error != "" {
		text += ": " + plain(status.Error)
	} else if len(status.Result) > 0 && string(status.Result) != "null" {
		text += ": " + plain(string(status.Result))
	}
	return s.out.line(text)
}

func (s *submission) verdict() error {
	if s.dead > 0 || s.refused > 0 {
		return errFailed
	}
	return nil
}
