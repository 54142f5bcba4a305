package reexec

import (
	"errors"
	"io"
	"strings"
	"testing"

	"ringmaster/job"
)

func TestSettings(t *testing.T) {
	for _, in := range []string{"", "no newline", "{\n"} {
		var spec struct{}
		if _, _, err := Settings(t.Context(), strings.NewReader(in), &spec); !errors.Is(err, job.ErrInvalid) {
			t.Errorf("%q: %v", in, err)
		}
	}
	in, parent := io.Pipe()
	var spec struct{ Name string }
	go func() { _, _ = parent.Write([]byte(`{"name":"w"}` + "\n")) }()
	ctx, cancel, err := Settings(t.Context(), in, &spec)
	if err != nil || spec.Name != "w" {
		t.Fatalf("%+v, %v", spec, err)
	}
	defer cancel()
	if ctx.Err() != nil {
		t.Fatal("it ends while its parent lives")
	}
	_ = parent.Close()
	<-ctx.Done()
}
