package apps_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/config/apps"
	"github.com/drumline/drumline/drummer/fleet/rules"
	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/statemachines/capacity"
	"github.com/drumline/drumline/statemachines/sequence"
)

// describe is a file as text: templates with their definitions.
func describe(t testing.TB, f apps.File) string {
	var b strings.Builder
	fmt.Fprintf(&b, "app %s bound %d\n", f.Configuration.GetApp(), f.Configuration.GetMaxGroups())
	for _, tmpl := range f.Configuration.GetTemplates() {
		var d capacitypb.Definition
		require.NoError(t, proto.Unmarshal(tmpl.GetOptions(), &d))
		fmt.Fprintf(&b, "%q replicas=%d regions=%v auto=%v\n  %s\n", tmpl.GetMatch(), tmpl.GetReplicas(), regions(tmpl), tmpl.GetAutoCreate(), text(&d))
	}
	b.WriteString(placement(f))
	for _, w := range f.Warnings {
		fmt.Fprintf(&b, "warning: %s\n", w)
	}
	return b.String()
}

func regions(t *fleetpb.Template) (list []string) {
	for _, r := range t.GetRegions() {
		list = append(list, fmt.Sprint(r.GetRegion(), "=", r.GetCount()))
	}
	return list
}

// placement is the rules of the templates that have some, beside their regions.
func placement(f apps.File) string {
	var b strings.Builder
	for _, t := range f.Configuration.GetTemplates() {
		rules := &fleetpb.Template{Require: t.GetRequire(), Forbid: t.GetForbid(), Isolation: t.GetIsolation(), Leaders: t.GetLeaders(), DownAfterMs: t.GetDownAfterMs(), Raft: t.GetRaft()}
		if proto.Size(rules) > 0 {
			fmt.Fprintf(&b, "%q has rules: %s\n", t.GetMatch(), text(rules))
		}
	}
	return b.String()
}

// text is a message on one line, with the same spaces in every run.
func text(m proto.Message) string {
	return strings.Join(strings.Fields(prototext.MarshalOptions{}.Format(m)), " ")
}

// TestFiles: the table of what is accepted and refused. The verb is read; the answer is
// what became of the file.
func TestFiles(t *testing.T) {
	datadriven.RunTest(t, "testdata/capacity.txt", func(t *testing.T, d *datadriven.TestData) string {
		require.Equal(t, "read", d.Cmd)
		f, err := apps.Capacity("config.yml", []byte(d.Input))
		if err != nil {
			return err.Error() + "\n"
		}
		require.NoError(t, rules.CheckConfiguration(f.Configuration), "what is read is accepted")
		require.Equal(t, d.Input, string(f.Configuration.GetSource()))
		for _, tmpl := range f.Configuration.GetTemplates() {
			_, err := capacity.App().Follow.Command(1, tmpl.GetOptions())
			require.NoError(t, err, "the machine takes every definition that is read")
		}
		return describe(t, f)
	})
}

// sequences is the reader that drummer-cmd has for app sequence.
func sequences() apps.Reader {
	return apps.Of("sequence", func() proto.Message { return &sequencepb.Settings{} }, func(m proto.Message) error {
		s, _ := m.(*sequencepb.Settings)
		return sequence.CheckSettings(s)
	})
}

// TestPlainFiles: an app without an old file to be true to.
func TestPlainFiles(t *testing.T) {
	datadriven.RunTest(t, "testdata/plain.txt", func(t *testing.T, d *datadriven.TestData) string {
		f, err := sequences()("sequences.yml", []byte(d.Input))
		if err != nil {
			return err.Error() + "\n"
		}
		require.NoError(t, rules.CheckConfiguration(f.Configuration), "what is read is accepted")
		var b strings.Builder
		fmt.Fprintf(&b, "app %s bound %d\n", f.Configuration.GetApp(), f.Configuration.GetMaxGroups())
		for _, tmpl := range f.Configuration.GetTemplates() {
			_, err := sequence.App().Follow.Command(1, tmpl.GetOptions())
			require.NoError(t, err, "the machine takes every template that is read")
			var s sequencepb.Settings
			require.NoError(t, proto.Unmarshal(tmpl.GetOptions(), &s))
			fmt.Fprintf(&b, "%q replicas=%d regions=%v auto=%v\n  %s\n", tmpl.GetMatch(), tmpl.GetReplicas(), regions(tmpl), tmpl.GetAutoCreate(), text(&s))
		}
		b.WriteString(placement(f))
		for _, w := range f.Warnings {
			fmt.Fprintf(&b, "warning: %s\n", w)
		}
		return b.String()
	})
}

func TestExamples(t *testing.T) {
	for _, name := range []string{"tutorial", "ours"} {
		raw, err := os.ReadFile("testdata/" + name + ".yml")
		require.NoError(t, err)
		f, err := apps.Capacity(name+".yml", raw)
		require.NoError(t, err)
		golden := "testdata/" + name + ".golden"
		if os.Getenv("UPDATE_GOLDEN") != "" {
			require.NoError(t, os.WriteFile(golden, []byte(describe(t, f)), 0o600))
		}
		want, err := os.ReadFile(golden)
		require.NoError(t, err)
		require.Equal(t, string(want), describe(t, f))
	}
}

func FuzzCapacity(f *testing.F) {
	for _, name := range []string{"tutorial", "ours"} {
		raw, err := os.ReadFile("testdata/" + name + ".yml")
		require.NoError(f, err)
		f.Add(raw)
	}
	f.Add([]byte("a: &a [*a]\nresources: *a"))
	f.Add([]byte("resources: &a\n- <<: *a"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		file, err := apps.Capacity("x", raw)
		if err != nil {
			return
		}
		for _, tmpl := range file.Configuration.GetTemplates() {
			var d capacitypb.Definition
			require.NoError(t, proto.Unmarshal(tmpl.GetOptions(), &d))
			require.GreaterOrEqual(t, d.GetLeaseLengthMs(), d.GetRefreshIntervalMs())
			require.Positive(t, d.GetRefreshIntervalMs())
		}
	})
}
