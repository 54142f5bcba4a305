// Command dispatcher: see dispatcher --help.
package main

import (
	"os"

	"ringmaster/internal/cli"
)

func main() { os.Exit(cli.Main(cli.Dispatcher)) }
