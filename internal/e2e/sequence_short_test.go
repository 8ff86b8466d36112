//go:build e2e && !e2elong

package e2e

import "time"

// How long the scenarios of sequences go on.
const (
	seqRun         = 2500 * time.Millisecond // of loads by the clock
	seqRounds      = 3                       // of kills of everything
	seqBlows       = 6                       // kills one by one
	seqClients     = 4200                    // more than dragonboat has sessions
	seqKeys        = 30_000                  // of a family
	seqFire        = 8 * time.Second         // while histories are recorded
	seqSevered     = time.Second             // of each trouble of the network
	seqTroubles    = 4                       // of the network
	seqGapFree     = 60                      // numbers to commit
	seqWholeAgain  = false                   // wait until the lost replica is replaced
	seqTimeWorkers = 60
	seqOpenings    = 3 // copies made while hosts are killed
)
