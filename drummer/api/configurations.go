package api

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/config/template"
	"github.com/drumline/drumline/drummer/api/keep"
	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/fleet/rules"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/statemachines"
)

// maxGroupChanges bounds the groups that an answer lists; it counts them all.
const maxGroupChanges = 1_000

// ApplyConfiguration stores a new revision of an app's configuration and tells what
// differs from the one before. Asking again for the same changes nothing.
func (s *Service) ApplyConfiguration(ctx context.Context, r *drummerpb.ApplyConfigurationRequest) (*drummerpb.ConfigurationChange, error) {
	wanted := r.GetConfiguration()
	if err := rules.CheckConfiguration(wanted); err != nil {
		return nil, fault.New(fault.Invalid, "configuration: %v", err)
	}
	c, v, err := s.lookAtRecord(ctx)
	if err != nil {
		return nil, err
	}
	if err := possible(v, wanted); err != nil {
		return nil, fault.New(fault.Conflict, "configuration: %v", err)
	}
	change := difference(v, wanted)
	if r.GetBase() != 0 && r.GetBase() != change.GetBase() && !rules.SameContent(v.Configuration(change.GetApp()), wanted) {
		return nil, fault.New(fault.Conflict, "revision %d is in force, the difference was taken from revision %d: look again", change.GetBase(), r.GetBase())
	}
	if r.GetDryRun() {
		return change, nil
	}
	// With its base the command is refused if what is compared here is not what it replaces.
	cmd := &fleetpb.ApplyConfiguration{Configuration: wanted, Base: change.GetBase()}
	return change, changeConfiguration(ctx, c, change, &fleetpb.Command{Op: &fleetpb.Command_ApplyConfiguration{ApplyConfiguration: cmd}})
}

// possible says which template has rules of placement, new ones, that no choice of the hosts
// keeps: a group that a first use makes by it would never serve. Rules that are in force
// already stay, whatever became of the hosts.
func possible(v *fleet.View, wanted *fleetpb.Configuration) error {
	old := v.Configuration(wanted.GetApp()).GetTemplates()
	places := byMatch(old)
	for _, t := range wanted.GetTemplates() {
		if at, had := places[t.GetMatch()]; had && samePlacement(old[at], t) {
			continue
		}
		for _, spec := range specsOf(t) {
			if err := keep.Possible(v, spec); err != nil {
				return fmt.Errorf("template %q: %w", t.GetMatch(), err)
			}
		}
	}
	return nil
}

// specsOf are the groups that a template makes of a name: one, or one in each region.
func specsOf(t *fleetpb.Template) []*fleetpb.Spec {
	if len(t.GetEachRegion()) == 0 {
		return []*fleetpb.Spec{rules.SpecOf("", "", t)}
	}
	var all []*fleetpb.Spec
	for _, region := range t.GetEachRegion() {
		all = append(all, rules.SpecOf(statemachines.NameIn("", region), "", t))
	}
	return all
}

// samePlacement tells whether two templates put groups at the same places.
func samePlacement(a, b *fleetpb.Template) bool {
	return slices.EqualFunc(specsOf(a), specsOf(b), func(a, b *fleetpb.Spec) bool {
		a.Raft, b.Raft = nil, nil
		return proto.Equal(a, b)
	})
}

// RollbackConfiguration makes the content of an old revision the newest one.
func (s *Service) RollbackConfiguration(ctx context.Context, r *drummerpb.RollbackConfigurationRequest) (*drummerpb.ConfigurationChange, error) {
	if err := checkApp(r.GetApp()); err != nil {
		return nil, err
	}
	c, v, err := s.lookAtRecord(ctx)
	if err != nil {
		return nil, err
	}
	old, err := revision(v, r.GetApp(), r.GetRevision())
	if err != nil {
		return nil, err
	}
	change := difference(v, old)
	if r.GetDryRun() {
		return change, nil
	}
	cmd := &fleetpb.RollbackConfiguration{App: r.GetApp(), Revision: old.GetRevision(), Author: r.GetAuthor()}
	return change, changeConfiguration(ctx, c, change, &fleetpb.Command{Op: &fleetpb.Command_RollbackConfiguration{RollbackConfiguration: cmd}})
}

// changeConfiguration proposes a change and notes the revision that it led to.
func changeConfiguration(ctx context.Context, c *Cluster, change *drummerpb.ConfigurationChange, cmd *fleetpb.Command) error {
	result, err := ask(ctx, c, cmd)
	if err == nil {
		change.Revision = result.GetRevision()
	}
	return err
}

// ShowConfiguration shows one revision with its source.
func (s *Service) ShowConfiguration(ctx context.Context, r *drummerpb.ShowConfigurationRequest) (*drummerpb.ShowConfigurationResponse, error) {
	if err := checkApp(r.GetApp()); err != nil {
		return nil, err
	}
	_, v, err := s.lookAtRecord(ctx)
	if err != nil {
		return nil, err
	}
	found, err := revision(v, r.GetApp(), r.GetRevision())
	if err != nil {
		return nil, err
	}
	return &drummerpb.ShowConfigurationResponse{Configuration: found, Current: v.Configuration(r.GetApp()).GetRevision()}, nil
}

// ListConfigurations lists an app's revisions, or what is in force for every app.
func (s *Service) ListConfigurations(ctx context.Context, r *drummerpb.ListConfigurationsRequest) (*drummerpb.ListConfigurationsResponse, error) {
	if r.GetApp() != "" {
		if err := checkApp(r.GetApp()); err != nil {
			return nil, err
		}
	}
	_, v, err := s.lookAtRecord(ctx)
	if err != nil {
		return nil, err
	}
	all := v.Configurations()
	if r.GetApp() != "" {
		all = v.Revisions(r.GetApp())
	}
	return &drummerpb.ListConfigurationsResponse{Configurations: bare(all)}, nil
}

// bare leaves out what makes configurations large.
func bare(all iter.Seq[*fleetpb.Configuration]) (list []*fleetpb.Configuration) {
	for c := range all {
		b := &fleetpb.Configuration{
			App: c.GetApp(), Revision: c.GetRevision(), AtUnixMs: c.GetAtUnixMs(), Author: c.GetAuthor(), MaxGroups: c.GetMaxGroups(), Restores: c.GetRestores(),
		}
		for _, t := range c.GetTemplates() {
			b.Templates = append(b.Templates, &fleetpb.Template{
				Match: t.GetMatch(), Replicas: t.GetReplicas(), Regions: t.GetRegions(), AutoCreate: t.GetAutoCreate(), Require: t.GetRequire(), Forbid: t.GetForbid(),
				Isolation: t.GetIsolation(), Leaders: t.GetLeaders(), DownAfterMs: t.GetDownAfterMs(), Raft: t.GetRaft(), EachRegion: t.GetEachRegion(),
			})
		}
		list = append(list, b)
	}
	return list
}

// lookAtRecord is look for answers that the record alone gives.
func (s *Service) lookAtRecord(ctx context.Context) (*Cluster, *fleet.View, error) {
	c, err := s.use()
	if err != nil {
		return nil, nil, err
	}
	v, err := c.Record.View(ctx)
	if err != nil {
		return nil, nil, asRead(err)
	}
	return c, v, nil
}

func checkApp(app string) error {
	if err := statemachines.CheckAppName(app); err != nil {
		return fault.New(fault.Invalid, "%v", err)
	}
	return nil
}

// revision finds one; 0 is the one in force.
func revision(v *fleet.View, app string, n uint64) (*fleetpb.Configuration, error) {
	now := v.Configuration(app)
	if now == nil {
		return nil, fault.New(fault.GroupNotFound, "app %s has no configuration: apply one first", app)
	}
	if n == 0 {
		return now, nil
	}
	if old := v.ConfigurationAt(app, n); old != nil {
		return old, nil
	}
	return nil, fault.New(fault.GroupNotFound, "revision %d of app %s is not kept; revision %d is in force, and the history lists the others", n, app, now.GetRevision())
}

// difference compares what somebody wants with what is in force.
func difference(v *fleet.View, wanted *fleetpb.Configuration) *drummerpb.ConfigurationChange {
	app := wanted.GetApp()
	now := v.Configuration(app)
	d := &drummerpb.ConfigurationChange{
		App: app, Base: now.GetRevision(), Revision: now.GetRevision(), Templates: templateChanges(now.GetTemplates(), wanted.GetTemplates()),
		MaxGroups: uint32(rules.Bound(wanted)),
	}
	if now != nil {
		d.MaxGroupsBefore = uint32(rules.Bound(now))
	}
	for g := range v.GroupsOfApp(app) {
		d.GroupsLive++
		name := g.GetSpec().GetName()
		before, after := template.Of(now, name), template.Of(wanted, name)
		if after == nil || before != nil && bytes.Equal(before.GetOptions(), after.GetOptions()) {
			continue // it keeps what it has
		}
		if d.GroupsChanged++; d.GroupsChanged <= maxGroupChanges {
			d.Groups = append(d.Groups, &drummerpb.GroupChange{Name: name, Region: g.GetSpec().GetRegion(), Before: before.GetMatch(), After: after.GetMatch()})
		}
	}
	return d
}

// templateChanges compares templates by their match. Of several of one match only the
// first is ever used, so the others do not count.
func templateChanges(before, after []*fleetpb.Template) (list []*drummerpb.TemplateChange) {
	old, now := byMatch(before), byMatch(after)
	rank := ranks(before, now)
	last := -1
	for i, t := range after {
		if now[t.GetMatch()] != i {
			continue
		}
		at, had := old[t.GetMatch()]
		if !had {
			list = append(list, &drummerpb.TemplateChange{Match: t.GetMatch(), Kind: "added"})
			continue
		}
		switch what := whatChanged(before[at], t); {
		case len(what) > 0:
			list = append(list, &drummerpb.TemplateChange{Match: t.GetMatch(), Kind: "changed", What: what})
		case rank[t.GetMatch()] < last:
			list = append(list, &drummerpb.TemplateChange{Match: t.GetMatch(), Kind: "moved"})
		}
		last = max(last, rank[t.GetMatch()])
	}
	for i, t := range before {
		if _, stays := now[t.GetMatch()]; !stays && old[t.GetMatch()] == i {
			list = append(list, &drummerpb.TemplateChange{Match: t.GetMatch(), Kind: "removed"})
		}
	}
	return list
}

// byMatch gives the place of the first template of each match.
func byMatch(list []*fleetpb.Template) map[string]int {
	places := make(map[string]int, len(list))
	for i, t := range list {
		if _, twice := places[t.GetMatch()]; !twice {
			places[t.GetMatch()] = i
		}
	}
	return places
}

// ranks gives the order that the templates had that stay.
func ranks(before []*fleetpb.Template, now map[string]int) map[string]int {
	rank := map[string]int{}
	for _, t := range before {
		if _, stays := now[t.GetMatch()]; stays {
			if _, twice := rank[t.GetMatch()]; !twice {
				rank[t.GetMatch()] = len(rank)
			}
		}
	}
	return rank
}

func whatChanged(a, b *fleetpb.Template) (what []string) {
	if !bytes.Equal(a.GetOptions(), b.GetOptions()) {
		what = append(what, "options")
	}
	if !rules.SameRaft(a.GetRaft(), b.GetRaft()) {
		what = append(what, "raft")
	}
	if !samePlacement(a, b) {
		what = append(what, "placement")
	}
	if a.GetAutoCreate() != b.GetAutoCreate() {
		what = append(what, "auto_create")
	}
	return what
}
