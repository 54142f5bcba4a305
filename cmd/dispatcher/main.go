// Command dispatcher: see dispatcher --help.
package main

import (
	"os"

	"ringmaster/internal/cli"
)

// version is set by the linker.
var version string

func main() { os.Exit(cli.Main(cli.Dispatcher, version)) }
