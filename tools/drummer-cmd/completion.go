package main

import (
	"context"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/drumline/drumline/config"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/arrange"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/completion"

	"github.com/drumline/drumline/tools/drummer-cmd/internal/shape"
)

// completeTimeout is how long a person at the prompt is kept waiting for names.
const completeTimeout = time.Second

func (t *tool) completionVerb() verb {
	return verb{
		name: "completion", usage: "print the completion script of a shell", args: "bash|zsh|fish", min: 1, max: 1,
		about: "For bash: source <(drummer-cmd completion bash). Names of groups are completed from the cluster, within a second.",
		run: func(_ context.Context, c *cli.Context) error {
			script, ok := completion.Script(c.Args().First())
			if !ok {
				return usage("there is no completion for %q: bash, zsh or fish", c.Args().First())
			}
			return t.write([]byte(script))
		},
	}
}

// completeVerb is what the scripts call: the words so far, the last one unfinished.
func (t *tool) completeVerb() verb {
	return verb{
		name: "__complete", usage: "print what may come next", args: "[WORD...]", max: -1, hidden: true,
		run: func(ctx context.Context, c *cli.Context) error {
			words := c.Args().Slice()
			last := ""
			if len(words) > 0 {
				words, last = words[:len(words)-1], words[len(words)-1]
			}
			var out strings.Builder
			for _, candidate := range t.candidates(ctx, words, last) {
				if strings.HasPrefix(candidate, last) {
					out.WriteString(candidate + "\n")
				}
			}
			return t.write([]byte(out.String()))
		},
	}
}

// candidates lists what may stand in the place of last.
func (t *tool) candidates(ctx context.Context, words []string, last string) []string {
	l, err := arrange.Read(t.app(), words)
	if err != nil {
		return nil
	}
	if strings.HasPrefix(last, "-") {
		return flagNames(l)
	}
	leaf := l.Leaf()
	if leaf == nil {
		return l.Choices()
	}
	args := strings.Fields(leaf.ArgsUsage)
	if len(l.Args()) >= len(args) {
		return nil
	}
	switch arg := strings.Trim(args[len(l.Args())], "[]"); {
	case strings.HasPrefix(arg, "GROUP") || arg == "NAME" && leaf.Name != "create":
		return t.groupNames(ctx, l, last)
	case strings.Contains(arg, "|"):
		return strings.Split(arg, "|")
	}
	return nil
}

func flagNames(l *arrange.Line) []string {
	var out []string
	for _, f := range l.Flags() {
		out = append(out, "--"+f.Names()[0])
	}
	return append(out, "--help")
}

// groupNames asks the cluster that the words name; an error means no candidates.
func (t *tool) groupNames(ctx context.Context, l *arrange.Line, prefix string) []string {
	ctx, cancel := context.WithTimeout(ctx, completeTimeout)
	defer cancel()
	if addresses, given := l.Global("servers"); given {
		t.opts.servers = strings.Split(addresses, ",")
	}
	all, err := t.groups(ctx, prefix)
	if err != nil {
		return nil
	}
	var out []string
	for _, g := range all {
		out = append(out, g.GetName())
	}
	return out
}

func (t *tool) versionVerb() verb {
	return verb{
		name: "version", usage: "print the version of this program",
		run: func(_ context.Context, _ *cli.Context) error {
			return t.print(shape.Version{Version: config.Version()}, func() *grid { return newGrid(program, config.Version()) })
		},
	}
}
