package fleet_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/prototext"

	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/fleet/rules"
	"github.com/drumline/drumline/drummer/fleet/words"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
)

// TestScripts runs testdata/*.txt. Verbs: apply (commands as prototext, one on each
// line), hosts N (registers h1..hN), groups, configurations, drummers, recover, operations, events.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/scripts", func(t *testing.T, path string) {
		m := fleet.New()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			var b strings.Builder
			switch d.Cmd {
			case "reset":
				m = fleet.New()
			case "hosts":
				for i := range len(d.CmdArgs[0].Key) {
					name := d.CmdArgs[0].Key[i : i+1]
					line(&b, apply(t, m, encode(&fleetpb.Command{Op: &fleetpb.Command_RegisterHost{RegisterHost: &fleetpb.Host{
						Id: name, Name: "host-" + name, Region: "east", Api: "x:1", Raft: "x:2", BootEpoch: 1,
						Apps: []*fleetpb.App{{Name: "kv", Version: 1}},
					}}})))
				}
			case "apply":
				for l := range strings.Lines(d.Input) {
					var c fleetpb.Command
					if err := prototext.Unmarshal([]byte(l), &c); err != nil {
						d.Fatalf(t, "%s: %v", l, err)
					}
					line(&b, apply(t, m, encode(&c)))
				}
			case "groups":
				for g := range m.Freeze().Groups() {
					fmt.Fprintf(&b, "%d %s %s gen=%d cc=%d op=%d%s\n", g.GetId(), g.GetSpec().GetName(), words.StateWord(g.GetState()), g.GetGeneration(), g.GetConfigChange(), g.GetOperation(), words.RulesOf(g.GetSpec()))
					for _, r := range g.GetReplicas() {
						fmt.Fprintf(&b, "  %d on %s %s joined=%v voter=%v replaces=%d\n", r.GetId(), r.GetHostId(),
							strings.ToLower(strings.TrimPrefix(r.GetPhase().String(), "REPLICA_PHASE_")), r.GetJoined(), r.GetVoter(), r.GetReplaces())
					}
				}
			case "configurations":
				describeConfigurations(&b, m.Freeze())
			case "recover":
				n, err := strconv.ParseUint(d.CmdArgs[0].Key, 10, 64)
				require.NoError(t, err)
				m.Recovered(n)
			case "operations":
				for o := range m.Freeze().Operations() {
					fmt.Fprintf(&b, "%d %s %s (%d): %q -> %q\n", o.GetId(), o.GetKind(), o.GetGroupName(), o.GetGroup(), o.GetReason(), o.GetResult())
				}
			case "drummers":
				for _, x := range m.Freeze().Drummers().All {
					word, _ := words.DrummerState(x.GetState())
					fmt.Fprintf(&b, "%d %s %s %s %s %s replaces=%d\n", x.GetNumber(), x.GetHostId(), x.GetName(), x.GetApi(), x.GetRaft(), word, x.GetReplaces())
				}
			case "events":
				events, _ := m.Freeze().Events(0, 1000)
				for _, e := range events {
					fmt.Fprintf(&b, "%d %s %s %s: %s\n", e.GetSequence(), e.GetKind(), e.GetGroup(), e.GetHost(), e.GetText())
				}
			default:
				d.Fatalf(t, "no verb %s", d.Cmd)
			}
			return b.String()
		})
	})
}

// describeConfigurations lists all revisions that are kept of every app.
func describeConfigurations(b *strings.Builder, v *fleet.View) {
	for now := range v.Configurations() {
		for c := range v.Revisions(now.GetApp()) {
			fmt.Fprintf(b, "%s %d at %d by %q from %q restores %d bound %d\n", c.GetApp(), c.GetRevision(), c.GetAtUnixMs(), c.GetAuthor(), c.GetSource(), c.GetRestores(), rules.Bound(c))
			for _, t := range c.GetTemplates() {
				fmt.Fprintf(b, "  %q replicas=%d auto=%v options=%q\n", t.GetMatch(), t.GetReplicas(), t.GetAutoCreate(), t.GetOptions())
			}
		}
	}
}

func line(b *strings.Builder, r *fleetpb.Result) {
	fmt.Fprintf(b, "%s %s\n", strings.ToLower(strings.TrimPrefix(r.GetCode().String(), "CODE_")), r.GetDetail())
	for _, i := range r.GetItems() {
		fmt.Fprintf(b, "  %s %d: %s %s\n", i.GetName(), i.GetId(), strings.ToLower(strings.TrimPrefix(i.GetCode().String(), "CODE_")), i.GetDetail())
	}
}
