package handlers

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"ringmaster/internal/pause"
	"ringmaster/job"
)

// Builtin returns the types that need no configuration: echo answers with its payload;
// sleep takes as long as its payload says ("250ms"); fail fails as many attempts as its
// payload says. A payload that says nothing of the kind goes to the dead letters.
func Builtin() map[string]Func {
	return map[string]Func{"echo": echo, "sleep": sleep, "fail": fail}
}

func echo(_ context.Context, d job.Delivery) (json.RawMessage, error) {
	return d.Payload, nil
}

func sleep(ctx context.Context, d job.Delivery) (json.RawMessage, error) {
	var text string
	if err := json.Unmarshal(d.Payload, &text); err != nil {
		return nil, job.Skip(fmt.Errorf("sleep: want a payload such as \"250ms\""))
	}
	wait, err := time.ParseDuration(text)
	if err != nil || wait < 0 {
		return nil, job.Skip(fmt.Errorf("sleep: payload %.40q: want a duration such as \"250ms\"", text))
	}
	if !pause.For(ctx, wait) {
		return nil, context.Cause(ctx)
	}
	return nil, nil
}

func fail(_ context.Context, d job.Delivery) (json.RawMessage, error) {
	var failures *uint32
	if err := json.Unmarshal(d.Payload, &failures); err != nil || failures == nil {
		return nil, job.Skip(fmt.Errorf("fail: want a payload that is a whole number, such as 2"))
	}
	if uint64(d.Attempt) <= uint64(*failures) {
		return nil, fmt.Errorf("failed on purpose: attempt %d of %d that fail", d.Attempt, *failures)
	}
	return nil, nil
}
