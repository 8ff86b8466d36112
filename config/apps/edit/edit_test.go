package edit_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/drumline/drumline/config/apps"
	"github.com/drumline/drumline/config/apps/edit"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestTexts: change at=N and copy at=N name=X edit the text that text gave, with the steps
// of their input, one on a line, where !KEY takes a key out. The answer is the new text.
func TestTexts(t *testing.T) {
	text, app := "", ""
	datadriven.RunTest(t, "testdata/texts.txt", func(t *testing.T, d *datadriven.TestData) string {
		if d.Cmd == "text" {
			text, app = d.Input, "any"
			if d.HasArg("app") {
				d.ScanArgs(t, "app", &app)
			}
			return ""
		}
		at, name := 0, ""
		d.ScanArgs(t, "at", &at)
		if d.HasArg("name") {
			d.ScanArgs(t, "name", &name)
		}
		steps, err := steps(d.Input)
		if err != nil {
			return "error: " + err.Error() + "\n"
		}
		var out []byte
		if d.Cmd == "copy" {
			out, err = edit.Copy([]byte(text), edit.FormOf(app), at, name, steps)
		} else {
			out, err = edit.Change([]byte(text), edit.FormOf(app), at, steps)
		}
		if err != nil {
			return "error: " + err.Error() + "\n"
		}
		return string(out)
	})
}

func steps(input string) (list []edit.Step, err error) {
	for line := range strings.Lines(input) {
		line = strings.TrimSuffix(line, "\n")
		parse := edit.Parse
		if key, unset := strings.CutPrefix(line, "!"); unset {
			parse, line = edit.ParseUnset, key
		}
		s, err := parse(line)
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return list, nil
}

// Whatever is set is what the reader finds afterwards, in that entry and in no other.
func TestWhatIsSetIsRead(t *testing.T) {
	read := apps.Of("any", func() proto.Message { return &fleetpb.Policy{} }, func(proto.Message) error { return nil })
	rapid.Check(t, func(t *rapid.T) {
		styles := []string{
			"- match: m%\n  replicas: 3\n", "- {match: m%, replicas: 5}\n", "- match: \"m%\" # about it\n  # what for\n  auto_create: false\n\n",
			"-   replicas: 1\n    raft:\n        snapshot_entries: 500\n    match: 'm%'\n", "- match: m%\n  options:\n  raft: {}\n",
		}
		var text strings.Builder
		text.WriteString("# head\nmax_groups: 7\ntemplates:\n")
		n := rapid.IntRange(1, 4).Draw(t, "entries")
		for i := range n {
			text.WriteString(strings.ReplaceAll(rapid.SampledFrom(styles).Draw(t, "style"), "%", strconv.Itoa(i)))
		}
		before, err := read("before", []byte(text.String()))
		require.NoError(t, err, text.String())
		at := rapid.IntRange(0, n-1).Draw(t, "at")
		own := rapid.Bool().Draw(t, "own")
		entries := rapid.Uint64Range(100, 9999).Draw(t, "entries")
		made := []edit.Step{
			{Path: []string{"raft", "snapshot_entries"}, Value: strconv.FormatUint(entries, 10)},
			{Path: []string{"replicas"}, Value: "7"},
			{Path: []string{"options", "down_after_ms"}, Value: `"5000"`},
		}
		name, change := "m"+strconv.Itoa(at), edit.Change
		if !own {
			name = "a \"name\""
			change = func(text []byte, form edit.Form, at int, steps []edit.Step) ([]byte, error) {
				return edit.Copy(text, form, at, name, steps)
			}
		}
		out, err := change([]byte(text.String()), edit.FormOf("any"), at, made)
		require.NoError(t, err, text.String())
		after, err := read("after", out)
		require.NoError(t, err, string(out))
		require.Contains(t, string(out), "# head")
		want := before.Configuration.GetTemplates()
		if !own {
			want = append(append(append([]*fleetpb.Template{}, want[:at]...), proto.CloneOf(want[at])), want[at:]...)
		}
		options, err := proto.Marshal(&fleetpb.Policy{DownAfterMs: 5000})
		require.NoError(t, err)
		want[at].Match, want[at].Replicas, want[at].Raft, want[at].Options = name, 7, &fleetpb.RaftOptions{SnapshotEntries: entries}, options
		require.Len(t, after.Configuration.GetTemplates(), len(want), string(out))
		for i, w := range want {
			require.True(t, proto.Equal(w, after.Configuration.GetTemplates()[i]), "entry %d of\n%s", i, out)
		}
	})
}
