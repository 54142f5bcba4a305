package behaviour

import (
	"testing"

	"go.uber.org/goleak"
)

// redial: a client that was refused often looks once a second whether the server is back. That ends by itself,
// up to a second after its client was closed, which is later than goleak waits.
const redial = "github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction(redial)) }
