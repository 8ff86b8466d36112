// Package life names where a replica of the manifest is between its first start and its
// end. What follows from each is for package replicas to say; here is only the vocabulary,
// which is on disk: a text is never changed.
package life

// Life is where a replica of the manifest is in its life. The text is on disk.
type Life string

// The lives of a replica.
const (
	// Starting: it may or may not have run yet.
	Starting Life = "starting"
	// Running: it has run and voted; it must never be started from nothing again.
	Running Life = "running"
	// Destroying: an order said that it is no member any more; its data is going.
	Destroying Life = "destroying"
	// Retiring: its group is banned; it is being stopped, and its last state kept.
	Retiring Life = "retiring"
	// Retired: it is stopped for ever, and its data kept until an order to destroy it.
	Retired Life = "retired"
)
