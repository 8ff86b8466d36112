// Package status tells people how groups and hosts are: it derives their states
// from the record and what the leader's loop has observed. It is pure.
package status

import (
	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/loop"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	"github.com/drumline/drumline/internal/ids"
)

// States of a group.
const (
	Launching   = "launching"
	OK          = "ok"
	Degraded    = "degraded"
	Unavailable = "unavailable"
	Deleting    = "deleting"
)

// GroupInfo describes the group of that number; nil when the record has none.
func GroupInfo(v *fleet.View, o *loop.Observed, id ids.Group) *drummerpb.GroupInfo { return nil }

// HostInfos describes every host, by name.
func HostInfos(v *fleet.View, o *loop.Observed) []*drummerpb.HostInfo { return nil }

// Explain describes a group with the planner's reasons and its operations; nil
// when no group has the name.
func Explain(v *fleet.View, o *loop.Observed, name string) *drummerpb.ExplainResponse { return nil }

// Summary counts groups and hosts by state; the server fills in who leads.
func Summary(v *fleet.View, o *loop.Observed) *drummerpb.StatusResponse { return nil }
