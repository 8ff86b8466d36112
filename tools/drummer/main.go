// Command drummer runs a master of the cluster: it keeps the fleet record with the
// other drummers and, when it leads, launches and repairs groups. `drummer --help`
// lists its configuration.
package main

import (
	"os"

	"github.com/drumline/drumline/drummer"
)

func main() { os.Exit(drummer.Main()) }
