package configs

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

const canary = "canary-7f3a9c51e2"

func TestSecret_IsNeverShown(t *testing.T) {
	d := DefaultDispatcher()
	d.Token = canary
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "token", d.Token, "all", d)
	b, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	texts := []string{log.String(), string(b)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		texts = append(texts, fmt.Sprintf(verb, d), fmt.Sprintf(verb, &d.Token), fmt.Sprintf(verb, d.Token))
	}
	for _, text := range texts {
		if strings.Contains(text, canary) || strings.Contains(text, fmt.Sprintf("%x", canary)) {
			t.Errorf("shown: %s", text)
		}
	}
	if string(d.Token) != canary {
		t.Error("the value itself is lost")
	}
}
