// Package archtest holds the rules that the packages keep among themselves:
// who may import whom, how long a file may be, what tests may not do.
package archtest

import "strings"

// imports lists, for each package that is not wiring, the packages of this
// module that it may import. A package that appears nowhere is an error.
var imports = map[string][]string{
	"configs":              {"job"},
	"configs/load":         {"job", "configs"},
	"consumergroup":        {"job", "resize", "consumergroup/driver", "consumergroup/lanes", "internal/pause"},
	"consumergroup/driver": {"job", "resize", "consumergroup/lanes"},
	"consumergroup/lanes":  {"job", "resize"},
	"dispatch":             {"job"},
	"embedded":             {"internal/memconn"},
	"examples":             {},
	"examples/ledger":      {".", "embedded"}, // what a reader's program has, and no more
	"examples/reports":     {".", "embedded"},
	"examples/webhooks":    {".", "embedded"},
	"internal/doctor":      {"configs", "internal/leading", "job", "resize", "resize/runner", "streams"},
	"internal/leading":     {"configs", "internal/pause", "job", "recovery", "resize", "resize/runner", "streams"},
	"internal/pause":       {},
	"internal/producing":   {"configs", "internal/pause", "job", "streams"},
	"job":                  {},
	"recovery":             {"job"},
	"resize":               {"ring"},
	"resize/runner":        {"resize", "internal/failpoint", "internal/pause"},
	"resize/sim":           {"job", "resize", "resize/runner", "recovery", "consumergroup/driver", "consumergroup/lanes"},
	"resize/sim/sweep":     {"resize/sim"},
	"ring":                 {},
	"ringtest":             {".", "embedded", "internal/memconn", "internal/pause", "job", "streams"},
	"streams":              {"job", "internal/failpoint"},
}

// wiring joins the others and may import all of them, except that nothing
// imports what is below cmd/. "." is the root package.
var wiring = []string{".", "cmd", "internal", "e2e", "bench"}

// pure packages get time as ticks and answers as values: the same input gives
// the same output, in a test as in production.
var pure = []string{"resize", "ring"}

// clockless packages are pure too, but are given times: they use the types of package
// time and none of its functions that ask a clock or wait for it.
var clockless = []string{"consumergroup/lanes", "recovery"}

// driven packages are sequences of calls, in an order that their tests and the simulator decide: they
// pass contexts on, and use the types of package time. Clock, locks and goroutines are their caller's.
var driven = []string{"consumergroup/driver"}

// clock is what asks a clock, or waits for it.
var clock = []string{"Now", "Since", "Until", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick", "Sleep"}

// timers are what of package context waits for a clock, or starts a goroutine.
var timers = []string{"WithTimeout", "WithTimeoutCause", "WithDeadline", "WithDeadlineCause", "AfterFunc"}

// impure is what no pure package imports, with everything below it.
var impure = []string{"context", "net", "os", "time", "log", "sync", "math/rand"}

// onlyFor names the packages that alone may import a dependency, with
// everything below it.
var onlyFor = []struct {
	dependency string
	users      []string
}{
	{"github.com/spf13/viper", []string{"configs/load"}},
	{"github.com/alicebob/miniredis", []string{"embedded"}},
	{"github.com/redis/go-redis", []string{".", "streams", "bench", "internal", "e2e", "ringtest"}},
}

// rootModules are all modules whose code a program gets that imports the root package alone: a
// client, a worker or a dispatcher. What is added here, everybody who uses the library carries.
var rootModules = []string{
	"github.com/cespare/xxhash/v2", // the partition of a key
	"github.com/google/uuid",       // incarnations
	"github.com/redis/go-redis/v9", // Redis
	"github.com/tidwall/gjson",     // whether a payload is JSON, in a quarter of the time
	"github.com/tidwall/match",     // gjson's
	"github.com/tidwall/pretty",    // gjson's
	"go.uber.org/atomic",           // go-redis's
	"golang.org/x/sys",             // go-redis's
}

// vagueNames say nothing about what a package is for.
var vagueNames = []string{"util", "utils", "common", "helper", "helpers"}

const maxLines = 400

// under reports whether path is one of roots or below one of them.
func under(path string, roots ...string) bool {
	for _, root := range roots {
		if path == root || strings.HasPrefix(path, root+"/") {
			return true
		}
	}
	return false
}
