package faults

import (
	"time"

	"github.com/drumline/drumline/internal/ids"
)

// What a Hook is asked about.
const (
	Batch Kind = iota + 1 // a message batch
	Chunk                 // a snapshot chunk
	Dial                  // a connection to be made
	Ping                  // a keepalive of an established connection, or its answer
)

// Kind is what is about to be sent.
type Kind uint8

// Hook decides what happens to everything one host sends to another. It is called
// from many goroutines.
type Hook interface {
	Fate(from, to ids.Host, k Kind) Fate
}

// Fate is a Hook's verdict; the zero value delivers as usual. Dial and Ping obey
// Drop only.
type Fate struct {
	// Drop loses it.
	Drop bool
	// Delay holds it back; batches sent later overtake it, chunks wait behind it.
	Delay time.Duration
	// Copies are sent beside it.
	Copies int
	// Swap lets the next chunk of the same stream overtake it; batches swap by Delay.
	Swap bool
}
