// Command worker: see worker --help.
package main

import (
	"os"

	"ringmaster/internal/cli"
)

// version is set by the linker.
var version string

func main() { os.Exit(cli.Main(cli.Worker, version)) }
