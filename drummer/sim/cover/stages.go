package cover

import "github.com/drumline/drumline/drummer/fleet/words"

// Operations that have no kind of their own in the record, or share one.
const (
	// DrainHost is the drain of a host; words.KindDrain is that of one replica.
	DrainHost = "drain host"
	// Drummers is a change of who the drummers are.
	Drummers = "drummers"
)

// Steps of operations.
const (
	Place    = "place"    // hosts are chosen
	Start    = "start"    // the first replicas start
	Open     = "open"     // the group is opened
	Load     = "load"     // it is opened with a state
	Seal     = "seal"     // it is closed for ever
	Purge    = "purge"    // the data goes
	Add      = "add"      // a replica is planned, and is no member yet
	Join     = "join"     // it is a member, and does not take part yet
	CatchUp  = "catch-up" // it takes part, and is behind
	Promote  = "promote"  // it has caught up, and has no vote yet
	Remove   = "remove"   // another one is to go
	HandOver = "hand over"
	Restart  = "restart" // a replica is to be stopped and started
	Empty    = "empty"   // replicas are to leave a host
)

// killed is what strikes the steps of a change of the drummers.
const killed = "drummer-killed"

// Stage is a kind of operation with its steps, in their order.
type Stage struct {
	Operation string
	Steps     []string
	// only is the one fault that lies in wait for it; empty for all.
	only string
}

// Stages are all kinds of operations. What is not among them cannot be.
func Stages() []Stage {
	moves := []string{Add, Join, CatchUp, Promote, HandOver, Remove}
	return []Stage{
		{Operation: words.KindLaunch, Steps: []string{Place, Start, Open}},
		{Operation: words.KindRecover, Steps: []string{Place, Start, Load}},
		{Operation: words.KindRestore, Steps: []string{Place, Start, Load}},
		{Operation: words.KindClone, Steps: []string{Place, Start, Load}},
		{Operation: words.KindDelete, Steps: []string{Seal, Purge}},
		{Operation: words.KindPurge, Steps: []string{Purge}},
		{Operation: words.KindReplace, Steps: []string{Add, Join, CatchUp, Remove, Promote}},
		{Operation: words.KindResize, Steps: []string{Add, Join, CatchUp, Promote, Remove}},
		{Operation: words.KindDrain, Steps: []string{Add, Join, CatchUp, Promote, Remove}}, // the lead left before
		{Operation: words.KindMove, Steps: moves},
		{Operation: words.KindPlace, Steps: moves},
		{Operation: words.KindBalance, Steps: moves},
		{Operation: words.KindTransfer, Steps: []string{HandOver}},
		{Operation: words.KindTune, Steps: []string{Restart, HandOver}},
		{Operation: DrainHost, Steps: []string{HandOver, Empty}},
		{Operation: words.KindLeave, Steps: []string{HandOver, Empty}},
		{Operation: Drummers, Steps: []string{"observe", "give vote", "remove drummer", "hand over", "joined", "gone"}, only: killed},
	}
}
