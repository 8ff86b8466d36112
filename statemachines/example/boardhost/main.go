// Command boardhost is a nodehost of a user's own: it runs groups of the example
// app besides those of kv. Everything else, from its configuration to its signals,
// is that of tools/nodehost.
package main

import (
	"os"

	"github.com/drumline/drumline/nodehost"
	"github.com/drumline/drumline/statemachines/example"
	"github.com/drumline/drumline/statemachines/kv"
)

func main() {
	os.Exit(nodehost.Main(example.App(), kv.App())) //nolint:forbidigo // the main function of a program
}
