package arrange

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/urfave/cli/v2"
	"pgregory.net/rapid"
)

func sample() *cli.App {
	return &cli.App{
		Name: "prog",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}},
			&cli.DurationFlag{Name: "watch", Aliases: []string{"w"}},
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}},
		},
		Commands: []*cli.Command{
			{Name: "groups", Subcommands: []*cli.Command{
				{Name: "list", Aliases: []string{"ls"}, Flags: []cli.Flag{&cli.StringFlag{Name: "state"}, &cli.StringSliceFlag{Name: "without"}}},
				{Name: "delete", Flags: []cli.Flag{&cli.BoolFlag{Name: "force"}}},
			}},
			{Name: "put", ArgsUsage: "KEY VALUE", HideHelpCommand: true, Flags: []cli.Flag{&cli.StringFlag{Name: "file", Aliases: []string{"f"}}}},
			{Name: "version"},
			{Name: "__hidden", Hidden: true},
		},
	}
}

func TestWords(t *testing.T) {
	for in, want := range map[string]string{
		"groups list":                          "groups list --",
		"groups ls":                            "groups list --",
		"-o json groups list":                  "--output=json groups list --",
		"groups -o json list":                  "--output=json groups list --",
		"groups list -o json":                  "--output=json groups list --",
		"groups list --output json":            "--output=json groups list --",
		"groups list -output=json":             "--output=json groups list --",
		"groups list pre -o=json":              "--output=json groups list -- pre",
		"groups list pre --state ok":           "groups list --state=ok -- pre",
		"groups list --without a --without=b":  "groups list --without=a --without=b --",
		"groups delete x --force -y":           "--yes=true groups delete --force=true -- x",
		"groups delete x --force=false":        "groups delete --force=false -- x",
		"-y groups delete --force x":           "--yes=true groups delete --force=true -- x",
		"groups list --watch":                  "--watch=2s groups list --",
		"groups list -w pre":                   "--watch=2s groups list -- pre",
		"groups list --watch=5s":               "--watch=5s groups list --",
		"put k v --file a":                     "put --file=a -- k v",
		"put -f - k":                           "put --file=- -- k",
		"put k -":                              "put -- k -",
		"put -- k -v":                          "put -- k -v",
		"put k -- --file":                      "put -- k --file",
		"put -- -- x":                          "put -- -- x",
		"put k --file=-x":                      "put --file=-x -- k",
		"put k --file=":                        "put --file= -- k",
		"put help x":                           "put -- help x",
		"--help":                               "--help",
		"":                                     "--help",
		"help":                                 "--help",
		"help groups list":                     "groups list --help",
		"groups --help":                        "groups --help",
		"groups help list":                     "groups list --help",
		"groups list x -h --state ok":          "groups list --help",
		"--version":                            "version --",
		"groups list --state ok -o yaml a b c": "--output=yaml groups list --state=ok -- a b c",
	} {
		got, err := Words(sample(), strings.Fields(in))
		require.NoError(t, err, in)
		require.Equal(t, want, strings.Join(got, " "), in)
	}
}

func TestMistakes(t *testing.T) {
	for in, want := range map[string]string{
		"grops list":                  `there is no command "grops"|did you mean groups?`,
		"groups lst":                  `there is no command "groups lst"|did you mean list?`,
		"groups del":                  `there is no command "groups del"|did you mean delete?`,
		"zzz":                         `there is no command "zzz"|prog --help`,
		"groups zzz":                  `there is no command "groups zzz"|prog groups --help`,
		"groups":                      `groups needs a verb: list, delete|prog groups --help`,
		"-- groups list":              `there is no command "groups"|`,
		"groups list --stat ok":       `prog groups list has no flag --stat|did you mean --state?`,
		"groups list x --outptu json": `prog groups list has no flag --outptu|did you mean --output?`,
		"groups list --force":         `prog groups list has no flag --force|arguments that begin with a hyphen go behind --`,
		"put k -5":                    `prog put has no flag -5|arguments that begin with a hyphen go behind --`,
		"put k --raw x":               `prog put has no flag --raw|arguments that begin with a hyphen go behind --`,
		"put k -xy":                   `prog put has no flag -xy|arguments that begin with a hyphen go behind --`,
		"--file a put k":              `the flag --file belongs to a command|write the command first, then --file`,
		"groups --state ok list":      `the flag --state belongs to a command|write the command first, then --state`,
		"groups list -o":              `the flag --output needs a value|`,
		"groups list -o -- x":         `the flag --output needs a value|`,
		"groups list --state -o":      `the flag --state needs a value|if -o is the value, write --state=-o`,
		"-o json groups list -o yaml": `the flag --output is given twice|`,
		"-y groups delete x --yes":    `the flag --yes is given twice|`,
		"groups list ---state ok":     `prog groups list has no flag ---state|did you mean --state?`,
	} {
		_, err := Words(sample(), strings.Fields(in))
		var m *Error
		require.ErrorAs(t, err, &m, in)
		require.Equal(t, want, m.Text+"|"+m.Hint, in)
	}
}

// Wherever flags stand, the library sees the same flags and the same arguments, and
// nothing is lost.
func TestPlaceDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		flags := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"--output json", "--yes", "--watch=5s", "-f x", "--file=-"}), 0, 3,
			func(s string) byte { return strings.TrimLeft(s, "-")[0] }).Draw(t, "flags")
		args := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "-", "help", "put"}), 0, 4).Draw(t, "args")
		words := args
		for _, f := range flags {
			at := rapid.IntRange(0, len(words)).Draw(t, "at")
			words = append(words[:at:at], append([]string{f}, words[at:]...)...)
		}
		got := parsed(t, "put "+strings.Join(words, " "))
		want := parsed(t, "put "+strings.Join(flags, " ")+" -- "+strings.Join(args, " "))
		require.Equal(t, want, got)
		require.Len(t, got.args, len(args))
		require.Equal(t, len(flags), got.flags)
	})
}

type seen struct {
	output, file, watch string
	yes                 bool
	flags               int
	args                []string
}

// parsed runs the library.
func parsed(t require.TestingT, text string) seen {
	app, out := sample(), seen{}
	app.Commands[1].Action = func(c *cli.Context) error {
		out = seen{
			output: c.String("output"), file: c.String("file"), watch: c.Duration("watch").String(), yes: c.Bool("yes"),
			args: append([]string{}, c.Args().Slice()...),
		}
		for _, f := range []string{"output", "file", "watch", "yes"} {
			if c.IsSet(f) {
				out.flags++
			}
		}
		return nil
	}
	words, err := Words(app, strings.Fields(text))
	require.NoError(t, err, text)
	require.NoError(t, app.Run(append([]string{"prog"}, words...)), text)
	return out
}

func FuzzWords(f *testing.F) {
	f.Add("groups list -o json -- x")
	f.Fuzz(func(t *testing.T, text string) {
		in := strings.Fields(text)
		got, err := Words(sample(), in)
		if err != nil {
			return
		}
		// What comes out is in order already: arranging it again changes nothing.
		again, err := Words(sample(), got)
		require.NoError(t, err)
		require.Equal(t, got, again)
	})
}

func TestDistance(t *testing.T) {
	for pair, want := range map[string]int{"a,a": 0, "list,lst": 1, "abc,": 3, "kitten,sitting": 3, ",abc": 3} {
		a, b, _ := strings.Cut(pair, ",")
		require.Equal(t, want, distance(a, b), pair)
	}
}
