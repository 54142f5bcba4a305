// Command worker: see worker --help.
package main

import (
	"os"

	"ringmaster/internal/cli"
	"ringmaster/internal/reexec"
)

// version is set by the linker.
var version string

func main() {
	if code, first := reexec.First(); first {
		os.Exit(code)
	}
	os.Exit(cli.Main(cli.Worker, version))
}
