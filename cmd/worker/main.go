// Command worker: see worker --help.
package main

import (
	"os"

	"ringmaster/internal/cli"
)

func main() { os.Exit(cli.Main(cli.Worker)) }
