package fleet_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/fleet/rules"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/statemachines"
)

func configure(app, source string, templates ...*fleetpb.Template) *fleetpb.Command {
	return &fleetpb.Command{Op: &fleetpb.Command_ApplyConfiguration{ApplyConfiguration: &fleetpb.ApplyConfiguration{
		Configuration: &fleetpb.Configuration{App: app, Source: []byte(source), Templates: templates},
	}}}
}

func TestRevisionsAreBounded(t *testing.T) {
	m := fleet.New()
	for n := range 50 {
		require.EqualValues(t, n+1, apply(t, m, encode(configure("kv", fmt.Sprint(n)))).GetRevision())
	}
	apply(t, m, encode(configure("counter", "x")))
	v := m.Freeze()
	kept := slices.Collect(v.Revisions("kv"))
	require.Len(t, kept, 20)
	require.EqualValues(t, 50, kept[0].GetRevision())
	require.EqualValues(t, 31, kept[19].GetRevision())
	require.Nil(t, v.ConfigurationAt("kv", 30))
	require.Equal(t, "31", string(v.ConfigurationAt("kv", 32).GetSource()))
	require.Empty(t, slices.Collect(v.Revisions("k")))
	require.Empty(t, slices.Collect(v.Revisions("kvx")))
	first := 0
	for range v.Configurations() {
		first++
		break
	}
	require.Equal(t, 1, first, "a caller may leave early")
}

func TestConfigurationsAreBounded(t *testing.T) {
	m := fleet.New()
	code := func(c *fleetpb.Command) fleetpb.Code { return apply(t, m, encode(c)).GetCode() }
	large := make([]*fleetpb.Template, rules.MaxTemplates+1)
	for i := range large {
		large[i] = &fleetpb.Template{Match: fmt.Sprint(i), Replicas: 1}
	}
	require.Equal(t, fleetpb.Code_CODE_INVALID, code(configure("kv", "", large...)))
	require.Equal(t, fleetpb.Code_CODE_OK, code(configure("kv", "", large[1:]...)))
	require.Equal(t, fleetpb.Code_CODE_INVALID, code(configure("kv", strings.Repeat("x", rules.MaxConfiguration))))
	require.Equal(t, fleetpb.Code_CODE_OK, code(configure("kv", strings.Repeat("x", rules.MaxConfiguration-32))))
	for n := range 63 {
		require.Equal(t, fleetpb.Code_CODE_OK, code(configure(fmt.Sprintf("app-%d", n), "")))
	}
	require.Equal(t, fleetpb.Code_CODE_INVALID, code(configure("one-too-many", "")))
	require.Equal(t, fleetpb.Code_CODE_OK, code(configure("app-1", "changed")))
	snap := snapshotOf(t, m)
	require.Equal(t, snap, snapshotOf(t, restored(t, snap)))
}

// TestSnapshotVersions: a record without configurations writes what programs before
// them read; one version never holds what is the other's.
func TestSnapshotVersions(t *testing.T) {
	m := fleet.New()
	apply(t, m, encode(create("kv/a")))
	old := snapshotOf(t, m)
	require.Equal(t, "drumflt\x01", string(old[:8]))
	apply(t, m, encode(configure("kv", "x", &fleetpb.Template{Match: "*", Replicas: 1})))
	now := snapshotOf(t, m)
	require.Equal(t, "drumflt\x02", string(now[:8]))
	for _, snap := range [][]byte{old, now} {
		swapped := slices.Clone(snap)
		swapped[7] ^= 3
		require.ErrorContains(t, fleet.New().Restore(bytes.NewReader(resummed(swapped))), "its content with")
	}
	require.Equal(t, 1, restored(t, now).Freeze().GroupsOf("kv"))
}

func TestGroupsOfApp(t *testing.T) {
	m := fleet.New()
	for _, name := range []string{"kv/b", "kv/a", "kv-x/a", "kva/a"} {
		app, _, _ := strings.Cut(name, "/")
		apply(t, m, encode(&fleetpb.Command{Op: &fleetpb.Command_CreateGroups{CreateGroups: &fleetpb.CreateGroups{
			Specs: []*fleetpb.Spec{{Name: name, App: app, Replicas: 1}},
		}}}))
	}
	var names []string
	for g := range m.Freeze().GroupsOfApp("kv") {
		names = append(names, g.GetSpec().GetName())
	}
	require.Equal(t, []string{"kv/a", "kv/b"}, names)
	require.Equal(t, 2, m.Freeze().GroupsOf("kv"))
	require.Zero(t, m.Freeze().GroupsOf("k"))
}

// resummed gives a changed snapshot the checksum of what it is now.
func resummed(snap []byte) []byte {
	n := len(snap) - 4
	return binary.BigEndian.AppendUint32(snap[:n:n], crc32.Checksum(snap[:n], crc32.MakeTable(crc32.Castagnoli)))
}

// TestWhatOlderProgramsDoNotKnow: while the record is at an older version, Raft options of
// templates and the steps of what changes no replica are left out by all, as programs of that
// version do.
func TestWhatOlderProgramsDoNotKnow(t *testing.T) {
	tuned := encode(configure("kv", "x", &fleetpb.Template{Match: "*", Replicas: 1, AutoCreate: true, Raft: &fleetpb.RaftOptions{SnapshotEntries: 700}}))
	plain := encode(configure("kv", "x", &fleetpb.Template{Match: "*", Replicas: 1, AutoCreate: true}))
	at := func(version uint32, commands ...[]byte) *fleet.Machine {
		m := fleet.New()
		for _, data := range commands {
			results := make([]statemachines.Result, 1)
			m.Apply([]statemachines.Command{{Version: version, Data: data}}, results)
			require.EqualValues(t, fleetpb.Code_CODE_OK, results[0].Value)
		}
		return m
	}
	use := encode(&fleetpb.Command{Op: &fleetpb.Command_FirstUse{FirstUse: &fleetpb.FirstUse{Names: []string{"kv/a"}}}})
	require.Equal(t, snapshotOf(t, at(1, plain, use)), snapshotOf(t, at(1, tuned, use)))
	require.EqualValues(t, 700, at(2, tuned, use).Freeze().ByName("kv/a").GetSpec().GetRaft().GetSnapshotEntries())

	host := encode(&fleetpb.Command{Op: &fleetpb.Command_RegisterHost{RegisterHost: &fleetpb.Host{
		Id: "a", Name: "host-a", Api: "x:1", Raft: "x:2", BootEpoch: 1, Apps: []*fleetpb.App{{Name: "kv", Version: 1}},
	}}})
	drain := encode(&fleetpb.Command{Op: &fleetpb.Command_SetHost{SetHost: &fleetpb.SetHost{HostId: "a", Wanted: &fleetpb.HostWanted{Duty: fleetpb.HostDuty_HOST_DUTY_DRAINING}}}})
	require.Empty(t, at(2, host, drain).Freeze().Operation(1).GetSteps())
	require.Len(t, at(3, host, drain).Freeze().Operation(1).GetSteps(), 1)
}
