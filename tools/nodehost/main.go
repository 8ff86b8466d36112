// Command nodehost runs a host with the apps of this project. `nodehost --help`
// lists its configuration; docs/your-own-app.md shows a host with an app of your
// own.
package main

import (
	"os"

	"github.com/drumline/drumline/nodehost"
	"github.com/drumline/drumline/statemachines/capacity"
	"github.com/drumline/drumline/statemachines/counter"
	"github.com/drumline/drumline/statemachines/kv"
	"github.com/drumline/drumline/statemachines/sequence"
)

func main() { os.Exit(nodehost.Main(kv.App(), capacity.App(), sequence.App(), counter.App())) }
