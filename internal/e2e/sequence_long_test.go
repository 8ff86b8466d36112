//go:build e2elong

package e2e

import "time"

// How long the scenarios of sequences go on.
const (
	seqRun         = 10 * time.Second
	seqRounds      = 50
	seqBlows       = 20
	seqClients     = 8000
	seqKeys        = 1_000_000
	seqFire        = 3 * time.Minute
	seqSevered     = 15 * time.Second
	seqTroubles    = 6 // of the network
	seqGapFree     = 500
	seqWholeAgain  = true
	seqTimeWorkers = 200
	seqOpenings    = 20
)
