package cli

import (
	"strings"
	"testing"
)

// TestSubmitBelowItsDurability: there is no replica, so nothing is reported as done; the
// repeat under the same key is not either, and with memory alone it answers with the id.
func TestSubmitBelowItsDurability(t *testing.T) {
	_, ringctl := server(t)
	submit := func(level string) outcome {
		return ringctl("", "submit", "q", "--type", "t", "--idempotency-key", "once", "--durability", level, "--wait-timeout", "20ms", "-o", "json")
	}
	for range 2 {
		got := submit("replicas:1")
		if got.code != exitFailure || got.stdout != "" || !strings.Contains(got.stderr, "0 of 1 replicas") || !strings.Contains(got.stderr, "same idempotency key") {
			t.Errorf("exit %d, stdout %q, stderr %q", got.code, got.stdout, got.stderr)
		}
	}
	if got := submit("memory"); got.code != exitDone || !strings.Contains(got.stdout, `"duplicate":true`) {
		t.Errorf("exit %d, stdout %q, stderr %q", got.code, got.stdout, got.stderr)
	}
	if got := submit("fsync"); got.code != exitUsage || !strings.Contains(got.stderr, "appendonly is no") {
		t.Errorf("exit %d, stderr %q", got.code, got.stderr)
	}
	if got := submit("replicas:0"); got.code != exitUsage || !strings.Contains(got.stderr, "want memory, fsync, replicas:N") {
		t.Errorf("exit %d, stderr %q", got.code, got.stderr)
	}
}
