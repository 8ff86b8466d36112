package holders

import (
	"fmt"
	"time"

	"github.com/drumline/drumline/tools/bench/measure"
)

// Ways that clients ask for capacity: with Doorman's protocol at the host that leads the
// resource or at all hosts in turn, or with our own protocol at the leader's.
const (
	ViaDoorman = "doorman"
	ViaAnyHost = "doorman, any host"
	ViaNative  = "native"
)

// Connections are made to each place that is called.
const Connections = 4

// OriginalEcho is what a bare echo did, 32 callers on 4 Connections, on the machine where
// the original Doorman was measured: its figures are scaled by this run's echo over that.
// FewCallers is the load under which it was.
const (
	OriginalEcho = 89000
	FewCallers   = 32
)

// Row is a row of the table, with what the original did there: requests a second on
// a quiet machine, except at 5,000 clients, where only figures of a busy one are known.
type Row struct {
	Via, Algorithm         string
	Clients, Each, Callers int
	Original               float64
}

// Rows are all of them.
func Rows() []Row {
	return []Row{
		{ViaDoorman, "none", 100, 1, FewCallers, 27200},
		{ViaDoorman, "proportional", 100, 1, FewCallers, 28500},
		{ViaDoorman, "proportional", 1000, 1, FewCallers, 16700},
		{ViaDoorman, "proportional", 5000, 1, FewCallers, 5600},
		{ViaDoorman, "proportional", 50000, 1, FewCallers, 0},
		{ViaDoorman, "fair", 100, 1, FewCallers, 26400},
		{ViaDoorman, "fair", 1000, 1, FewCallers, 5900},
		{ViaDoorman, "fair", 5000, 1, FewCallers, 1200},
		{ViaDoorman, "fair", 50000, 1, FewCallers, 0},
		{ViaDoorman, "proportional", 100, 10, FewCallers, 14300},
		{ViaDoorman, "proportional", 5000, 10, FewCallers, 0},
		{ViaDoorman, "proportional", 5000, 1, 256, 5600},
		{ViaAnyHost, "proportional", 5000, 1, 256, 5600},
		{ViaNative, "proportional", 5000, 1, FewCallers, 5600},
		{ViaNative, "proportional", 5000, 1, 256, 5600},
	}
}

// String names a row.
func (r Row) String() string {
	return fmt.Sprintf("%s %s %d %d %d", r.Via, r.Algorithm, r.Clients, r.Each, r.Callers)
}

// Request asks for a run of the row.
func (r Row) Request(d time.Duration) measure.Request {
	return measure.Request{
		Op: measure.OpLease, Via: r.Via, Algorithm: r.Algorithm, Clients: r.Clients, Each: r.Each, Callers: r.Callers, Time: d,
	}
}

// Protocol is what the clients of a road speak: each keeps to one.
func Protocol(via string) string {
	if via == ViaNative {
		return Native
	}
	return Doorman
}
