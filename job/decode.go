package job

import "encoding/json"

// Written is a job as it is written in JSON, over HTTP and in lines for ringctl submit. Type is
// required.
type Written struct {
	Type           string          `json:"type"`
	Key            *string         `json:"key"`
	Payload        json.RawMessage `json:"payload"`
	IdempotencyKey *string         `json:"idempotency_key"`
}

// Decode reads a job from JSON, as strictly as DecodeObject. Everything that is wrong with its form is
// an ErrInvalid; what its values may be is for Validate.
func Decode(data []byte) (Job, error) {
	var w Written
	if err := DecodeObject(data, &w); err != nil {
		return Job{}, err
	}
	j := Job{Type: w.Type, Payload: w.Payload}
	if w.Key != nil {
		j.Key = *w.Key
	}
	if w.IdempotencyKey != nil {
		if j.IdempotencyKey = *w.IdempotencyKey; j.IdempotencyKey == "" {
			return Job{}, Invalid("field \"idempotency_key\" is empty: leave it out, or give the job a key of its own")
		}
	}
	return j, nil
}
