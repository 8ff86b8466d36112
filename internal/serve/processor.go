package serve

import (
	"os"
	"runtime"
)

// SpareProcessor gives this process a second processor of the Go runtime if it has only
// one. A system call keeps the one that it was made on until Go's monitor takes it away,
// which may be after 10 ms: with one in all, everything stands still during each fsync,
// heartbeats and other groups too. GOMAXPROCS in the environment has the last word.
func SpareProcessor() {
	if os.Getenv("GOMAXPROCS") == "" && runtime.GOMAXPROCS(0) == 1 {
		runtime.GOMAXPROCS(2)
	}
}
