package api

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
)

func tmpl(match, options string, auto bool) *fleetpb.Template {
	return &fleetpb.Template{Match: match, Replicas: 1, AutoCreate: auto, Options: []byte(options)}
}

func configuration(source string, templates ...*fleetpb.Template) *fleetpb.Configuration {
	return &fleetpb.Configuration{App: "kv", Author: "ann", Source: []byte(source), Templates: templates}
}

func TestApplyTellsTheDifference(t *testing.T) {
	w := newTown(t, 1)
	w.record.do(t, host("x"))
	for _, name := range []string{"kv/a", "kv/b", "kv/c/d"} {
		openGroup(t, w, name, "x")
	}
	first := &drummerpb.ApplyConfigurationRequest{Configuration: configuration("1", tmpl("a", "A", true), tmpl("old", "x", false), tmpl("*", "all", true)), DryRun: true}
	dry, err := w.drummer(0).ApplyConfiguration(t.Context(), first)
	require.NoError(t, err)
	require.Zero(t, dry.GetRevision())
	require.EqualValues(t, 3, dry.GetGroupsLive())
	require.EqualValues(t, 2, dry.GetGroupsChanged(), "no template is for kv/c/d")
	require.Equal(t, []string{"kv/a:>a", "kv/b:>*"}, groupsOf(dry))
	require.Equal(t, []string{"added a []", "added old []", "added * []"}, templatesOf(dry))
	require.EqualValues(t, 10_000, dry.GetMaxGroups())
	require.Empty(t, w.record.machine.Freeze().Configuration("kv"))

	first.DryRun = false
	done, err := w.drummer(0).ApplyConfiguration(t.Context(), first)
	require.NoError(t, err)
	require.EqualValues(t, 1, done.GetRevision())

	next := configuration("2", tmpl("*", "all", false), tmpl("a", "B", true), tmpl("b", "all", true))
	next.MaxGroups = 9
	changed, err := w.drummer(0).ApplyConfiguration(t.Context(), &drummerpb.ApplyConfigurationRequest{Configuration: next, Base: 1})
	require.NoError(t, err)
	require.EqualValues(t, 2, changed.GetRevision())
	require.EqualValues(t, 1, changed.GetBase())
	require.Equal(t, []string{"kv/a:a>a"}, groupsOf(changed), "kv/b has another template with the same options")
	require.Equal(t, []string{"changed * [auto_create]", "changed a [options]", "added b []", "removed old []"}, templatesOf(changed))
	require.EqualValues(t, 10_000, changed.GetMaxGroupsBefore())
	require.EqualValues(t, 9, changed.GetMaxGroups())

	moved, err := w.drummer(0).ApplyConfiguration(t.Context(), &drummerpb.ApplyConfigurationRequest{
		Configuration: configuration("3", next.GetTemplates()[2], next.GetTemplates()[0], next.GetTemplates()[1]), DryRun: true,
	})
	require.NoError(t, err)
	require.Equal(t, []string{"moved * []", "moved a []"}, templatesOf(moved))

	elsewhere := proto.CloneOf(next)
	elsewhere.Templates[0].Leaders = []string{"east"}
	placed, err := w.drummer(0).ApplyConfiguration(t.Context(), &drummerpb.ApplyConfigurationRequest{Configuration: elsewhere, DryRun: true})
	require.NoError(t, err)
	require.Equal(t, []string{"changed * [placement]"}, templatesOf(placed))

	// What is so already is no conflict: an answer may have been lost.
	again, err := w.drummer(0).ApplyConfiguration(t.Context(), &drummerpb.ApplyConfigurationRequest{Configuration: next, Base: 1})
	require.NoError(t, err)
	require.EqualValues(t, 2, again.GetRevision())
	_, err = w.drummer(0).ApplyConfiguration(t.Context(), &drummerpb.ApplyConfigurationRequest{Configuration: configuration("4"), Base: 1})
	requireReason(t, fault.Conflict, err)
}

func groupsOf(c *drummerpb.ConfigurationChange) (list []string) {
	for _, g := range c.GetGroups() {
		list = append(list, g.GetName()+":"+g.GetBefore()+">"+g.GetAfter())
	}
	return list
}

func templatesOf(c *drummerpb.ConfigurationChange) (list []string) {
	for _, t := range c.GetTemplates() {
		list = append(list, fmt.Sprint(t.GetKind(), " ", t.GetMatch(), " ", t.GetWhat()))
	}
	return list
}

func TestConfigurationsAreShownListedAndRolledBack(t *testing.T) {
	w := newTown(t, 2) // through the drummer that follows
	d := w.drummer(1)
	for _, source := range []string{"one", "two"} {
		_, err := d.ApplyConfiguration(t.Context(), &drummerpb.ApplyConfigurationRequest{Configuration: configuration(source, tmpl("*", source, true))})
		require.NoError(t, err)
	}
	shown, err := d.ShowConfiguration(t.Context(), &drummerpb.ShowConfigurationRequest{App: "kv"})
	require.NoError(t, err)
	require.Equal(t, "two", string(shown.GetConfiguration().GetSource()))
	require.EqualValues(t, 2, shown.GetCurrent())
	dry, err := d.RollbackConfiguration(t.Context(), &drummerpb.RollbackConfigurationRequest{App: "kv", Revision: 1, DryRun: true})
	require.NoError(t, err)
	require.EqualValues(t, 2, dry.GetRevision())
	back, err := d.RollbackConfiguration(t.Context(), &drummerpb.RollbackConfigurationRequest{App: "kv", Revision: 1, Author: "eve"})
	require.NoError(t, err)
	require.EqualValues(t, 3, back.GetRevision())
	require.Equal(t, []string{"changed * [options]"}, templatesOf(back))
	shown, err = d.ShowConfiguration(t.Context(), &drummerpb.ShowConfigurationRequest{App: "kv", Revision: 3})
	require.NoError(t, err)
	require.Equal(t, "one", string(shown.GetConfiguration().GetSource()))
	require.EqualValues(t, 1, shown.GetConfiguration().GetRestores())

	list, err := d.ListConfigurations(t.Context(), &drummerpb.ListConfigurationsRequest{App: "kv"})
	require.NoError(t, err)
	require.Len(t, list.GetConfigurations(), 3)
	require.EqualValues(t, 3, list.GetConfigurations()[0].GetRevision())
	require.Empty(t, list.GetConfigurations()[0].GetSource())
	require.Empty(t, list.GetConfigurations()[0].GetTemplates()[0].GetOptions())
	all, err := d.ListConfigurations(t.Context(), &drummerpb.ListConfigurationsRequest{})
	require.NoError(t, err)
	require.Len(t, all.GetConfigurations(), 1)

	_, err = d.ShowConfiguration(t.Context(), &drummerpb.ShowConfigurationRequest{App: "kv", Revision: 9})
	requireReason(t, fault.GroupNotFound, err)
	require.ErrorContains(t, err, "revision 9 of app kv is not kept; revision 3 is in force")
	_, err = d.RollbackConfiguration(t.Context(), &drummerpb.RollbackConfigurationRequest{App: "counter", Revision: 1})
	requireReason(t, fault.GroupNotFound, err)
}

func TestBadConfigurations(t *testing.T) {
	w := newTown(t, 1)
	d := w.drummer(0)
	_, err := d.ApplyConfiguration(t.Context(), &drummerpb.ApplyConfigurationRequest{})
	requireReason(t, fault.Invalid, err)
	_, err = d.ApplyConfiguration(t.Context(), &drummerpb.ApplyConfigurationRequest{Configuration: configuration("", tmpl("[", "", true))})
	requireReason(t, fault.Invalid, err)
	_, err = d.ShowConfiguration(t.Context(), &drummerpb.ShowConfigurationRequest{App: "K"})
	requireReason(t, fault.Invalid, err)
	_, err = d.ListConfigurations(t.Context(), &drummerpb.ListConfigurationsRequest{App: "K"})
	requireReason(t, fault.Invalid, err)
	_, err = d.RollbackConfiguration(t.Context(), &drummerpb.RollbackConfigurationRequest{App: "K"})
	requireReason(t, fault.Invalid, err)
	require.Empty(t, w.record.commands)
	w.record.failWith(fault.New(fault.UnknownOutcome, "who knows"))
	_, err = d.ApplyConfiguration(t.Context(), &drummerpb.ApplyConfigurationRequest{Configuration: configuration("")})
	requireReason(t, fault.UnknownOutcome, err)
}

// openSoon launches a group as a supervisor does, once it is there.
func openSoon(t *testing.T, w *town, name, on string) {
	t.Helper()
	require.Eventually(t, func() bool {
		v, _ := w.record.LocalView()
		return v.ByName(name) != nil
	}, 20*time.Second, time.Millisecond)
	now := func() *fleetpb.Group { v, _ := w.record.LocalView(); return v.ByName(name) }
	id := now().GetId()
	w.record.do(t, &fleetpb.Command{Op: &fleetpb.Command_Place{Place: &fleetpb.Place{Group: id, Generation: now().GetGeneration(), HostIds: []string{on}}}})
	w.record.do(t, &fleetpb.Command{Op: &fleetpb.Command_ReplicasStarted{ReplicasStarted: &fleetpb.ReplicasStarted{Group: id, Replicas: []uint64{now().GetReplicas()[0].GetId()}}}})
	for _, state := range []fleetpb.GroupState{fleetpb.GroupState_GROUP_STATE_OPENING, fleetpb.GroupState_GROUP_STATE_OPEN} {
		w.record.do(t, &fleetpb.Command{Op: &fleetpb.Command_Advance{Advance: &fleetpb.Advance{Group: id, Generation: now().GetGeneration(), State: state}}})
	}
}

func firstUse(name string) *hostpb.LocateRequest {
	return &hostpb.LocateRequest{Group: &hostpb.GroupRef{Name: name}, FirstUse: true}
}

func TestAFirstUseMakesTheGroupAndWaitsUntilItIsOpen(t *testing.T) {
	w := newTown(t, 2)
	w.record.do(t, host("x"), &fleetpb.Command{Op: &fleetpb.Command_ApplyConfiguration{ApplyConfiguration: &fleetpb.ApplyConfiguration{
		Configuration: configuration("", tmpl("fixed", "", false), tmpl("*", "", true)),
	}}})
	opened := make(chan struct{})
	go func() { defer close(opened); openSoon(t, w, "kv/new", "x") }()
	resp, err := w.directory(1).Locate(t.Context(), firstUse("kv/new")) // through a follower
	<-opened
	require.NoError(t, err)
	require.Equal(t, "x:1", resp.GetLocation().GetMembers()[0].GetApi())
	require.Len(t, w.record.commands, 1)
	_, err = w.directory(0).Locate(t.Context(), firstUse("kv/new"))
	require.NoError(t, err)
	require.Len(t, w.record.commands, 1, "once open, a first use is a question")

	_, err = w.directory(0).Locate(t.Context(), &hostpb.LocateRequest{Group: &hostpb.GroupRef{Name: "kv/asked"}})
	requireReason(t, fault.GroupNotFound, err)
	for name, sentence := range map[string]string{
		"kv/a/b": "no template of app kv matches the name", "kv/fixed": "makes none on first use", "counter/a": "has no configuration",
	} {
		_, err = w.directory(0).Locate(t.Context(), firstUse(name))
		requireReason(t, fault.GroupNotFound, err)
		require.ErrorContains(t, err, sentence)
	}
	require.Len(t, w.record.commands, 1, "names that nothing allows cost no proposal")

	// A launch that takes longer than a question may is asked for again.
	_, err = w.directory(0).Locate(t.Context(), firstUse("kv/slow"))
	requireReason(t, fault.NotOpen, err)
	require.Len(t, w.record.commands, 2)
	_, err = w.directory(0).Locate(t.Context(), firstUse("kv/slow"))
	requireReason(t, fault.NotOpen, err)
	require.Len(t, w.record.commands, 2)
}

func TestFirstUsesThatAreRefused(t *testing.T) {
	w := newTown(t, 1)
	bounded := configuration("", tmpl("*", "", true))
	bounded.MaxGroups = 1
	w.record.do(t, host("x"), &fleetpb.Command{Op: &fleetpb.Command_ApplyConfiguration{ApplyConfiguration: &fleetpb.ApplyConfiguration{Configuration: bounded}}})
	id := openGroup(t, w, "kv/a", "x")
	_, err := w.directory(0).Locate(t.Context(), firstUse("kv/b"))
	requireReason(t, fault.Limit, err)
	require.ErrorContains(t, err, "app kv has 1 groups already")
	_, err = w.drummer(0).DeleteGroup(t.Context(), &drummerpb.DeleteGroupRequest{Name: "kv/a"})
	require.NoError(t, err)
	_, err = w.directory(0).Locate(t.Context(), firstUse("kv/a"))
	requireReason(t, fault.Sealed, err)
	both := firstUse("kv/a")
	both.Group.Id = id
	_, err = w.directory(0).Locate(t.Context(), both)
	requireReason(t, fault.Sealed, err)
	w.record.do(t, &fleetpb.Command{Op: &fleetpb.Command_DeleteGroup{DeleteGroup: &fleetpb.DeleteGroup{Name: "kv/a", Force: true}}})
	w.record.failWith(fault.New(fault.NotLeader, "no more"))
	_, err = w.directory(0).Locate(t.Context(), firstUse("kv/b"))
	requireReason(t, fault.NotSupervisor, err)
	_, err = w.directory(0).Locate(t.Context(), firstUse("kv"))
	requireReason(t, fault.Invalid, err)
}

// What some drummer's program is too old for is refused, and nothing of it stored.
func TestTemplatesWithRaftOptions(t *testing.T) {
	w := newTown(t, 1)
	own := &fleetpb.RaftOptions{SnapshotEntries: 700}
	tuned := tmpl("*", "all", true)
	tuned.Raft = own
	apply := func(c *fleetpb.Configuration) (*drummerpb.ConfigurationChange, error) {
		return w.drummer(0).ApplyConfiguration(t.Context(), &drummerpb.ApplyConfigurationRequest{Configuration: c})
	}
	w.record.older = true
	_, err := apply(configuration("1", tuned))
	requireReason(t, fault.Conflict, err)
	w.record.older = false
	changed, err := apply(configuration("1", tuned))
	require.NoError(t, err)
	require.EqualValues(t, 1, changed.GetRevision())
	require.Equal(t, []string{"added * []"}, templatesOf(changed))

	list, err := w.drummer(0).ListConfigurations(t.Context(), &drummerpb.ListConfigurationsRequest{App: "kv"})
	require.NoError(t, err)
	require.Equal(t, own.String(), list.GetConfigurations()[0].GetTemplates()[0].GetRaft().String())
	for text, bad := range map[string]*fleetpb.RaftOptions{
		"set both, or none": {ElectionTicks: 20}, "want 100 to": {SnapshotEntries: 1}, "at least 3 times": {ElectionTicks: 4, HeartbeatTicks: 2},
	} {
		tuned.Raft = bad
		_, err = apply(configuration("2", tuned))
		requireReason(t, fault.Invalid, err)
		require.ErrorContains(t, err, text)
	}
}
