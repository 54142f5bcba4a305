package behaviour

import (
	"testing"

	"ringmaster/internal/redistest"
)

func TestMain(m *testing.M) { redistest.VerifyMain(m) }
