// Command ringctl: see ringctl --help.
package main

import (
	"os"

	"ringmaster/internal/cli"
)

func main() { os.Exit(cli.Main(cli.Ringctl)) }
