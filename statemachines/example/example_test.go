package example_test

import (
	"os"

	"github.com/drumline/drumline/nodehost"
	"github.com/drumline/drumline/statemachines/example"
)

// The whole program of a host with an app of one's own.
func Example() {
	os.Exit(nodehost.Main(example.App()))
}
