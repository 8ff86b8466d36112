package appconfig

import (
	"time"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/shape"
)

// The shapes of this file are a contract that docs/cli-json.md describes: fields are
// added, never renamed or removed.

// Change is what an apply or a rollback came to.
type Change struct {
	App    string `json:"app"`
	DryRun bool   `json:"dry_run"`
	// Before is the revision that was in force, Revision the one that is; 0 for none.
	Before          uint64           `json:"before"`
	Revision        uint64           `json:"revision"`
	Templates       []TemplateChange `json:"templates"`
	Groups          []GroupChange    `json:"groups"`
	GroupsChanged   uint64           `json:"groups_changed"`
	GroupsLive      uint64           `json:"groups_live"`
	MaxGroups       uint32           `json:"max_groups"`
	MaxGroupsBefore uint32           `json:"max_groups_before"`
}

// TemplateChange is how a template differs.
type TemplateChange struct {
	Match string   `json:"match"`
	Kind  string   `json:"kind"`
	What  []string `json:"what"`
}

// GroupChange is a live group whose options change.
type GroupChange struct {
	Name   string `json:"name"`
	Region string `json:"region"`
	Before string `json:"before"`
	After  string `json:"after"`
}

// changeOf translates a change.
func changeOf(c *drummerpb.ConfigurationChange, dryRun bool) Change {
	s := Change{
		App: c.GetApp(), DryRun: dryRun, Before: c.GetBase(), Revision: c.GetRevision(), Templates: []TemplateChange{}, Groups: []GroupChange{},
		GroupsChanged: c.GetGroupsChanged(), GroupsLive: c.GetGroupsLive(), MaxGroups: c.GetMaxGroups(), MaxGroupsBefore: c.GetMaxGroupsBefore(),
	}
	for _, t := range c.GetTemplates() {
		s.Templates = append(s.Templates, TemplateChange{Match: t.GetMatch(), Kind: t.GetKind(), What: append([]string{}, t.GetWhat()...)})
	}
	for _, g := range c.GetGroups() {
		s.Groups = append(s.Groups, GroupChange{Name: g.GetName(), Region: g.GetRegion(), Before: g.GetBefore(), After: g.GetAfter()})
	}
	return s
}

// Revision is one revision of an app's configuration.
type Revision struct {
	App    string `json:"app"`
	Number uint64 `json:"revision"`
	// Current tells that it is in force.
	Current  bool   `json:"current"`
	At       string `json:"at"`
	Author   string `json:"author"`
	Restores uint64 `json:"restores"`
	// MaxGroups is 0 for the default.
	MaxGroups uint32     `json:"max_groups"`
	Templates []Template `json:"templates"`
}

// Template is one template of a Revision.
type Template struct {
	Match      string            `json:"match"`
	Replicas   uint32            `json:"replicas"`
	Regions    map[string]uint32 `json:"regions"`
	AutoCreate bool              `json:"auto_create"`
	// EachRegion are the regions that have a group each of a name.
	EachRegion []string `json:"each_region"`
	// Raft are the Raft options of a group that is made, 0 for those of its hosts.
	Raft shape.Raft `json:"raft"`
}

// revisionOf translates a revision.
func revisionOf(c *fleetpb.Configuration, current uint64) Revision {
	s := Revision{
		App: c.GetApp(), Number: c.GetRevision(), Current: c.GetRevision() == current, At: moment(c.GetAtUnixMs()), Author: c.GetAuthor(),
		Restores: c.GetRestores(), MaxGroups: c.GetMaxGroups(), Templates: []Template{},
	}
	for _, t := range c.GetTemplates() {
		shown := Template{Match: t.GetMatch(), Replicas: t.GetReplicas(), Regions: map[string]uint32{}, AutoCreate: t.GetAutoCreate(), EachRegion: append([]string{}, t.GetEachRegion()...)}
		own := t.GetRaft()
		shown.Raft = shape.Raft{SnapshotEntries: own.GetSnapshotEntries(), ElectionTicks: own.GetElectionTicks(), HeartbeatTicks: own.GetHeartbeatTicks()}
		for _, r := range t.GetRegions() {
			shown.Regions[r.GetRegion()] = r.GetCount()
		}
		s.Templates = append(s.Templates, shown)
	}
	return s
}

// Source is one revision with the text that it was made of.
type Source struct {
	Revision
	Source string `json:"source"`
}

// moment is a wall clock time in UTC, or empty for none.
func moment(unixMS int64) string {
	if unixMS == 0 {
		return ""
	}
	return time.UnixMilli(unixMS).UTC().Format("2006-01-02T15:04:05.000Z")
}
