package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/drumline/drumline/tools/drummer-cmd/internal/arrange"
)

// Help texts; flags of the program are listed by the program's help alone.
const (
	appHelp = `{{.Name}} - {{.Usage}}

usage: {{.HelpName}} COMMAND [ARGUMENTS] [FLAGS]

commands:{{range .VisibleCommands}}
  {{.Name}}{{"\t"}}{{.Usage}}{{end}}

flags, before or behind the command:{{range .VisibleFlags}}
  {{.}}{{end}}

exit codes: 0 done, 1 failed, 2 usage, 3 unreachable or no leader, 4 not found, 5 conflict, 6 timeout while waiting, 7 partial, 130 interrupted
{{.HelpName}} COMMAND --help says more.
`
	nounHelp = `{{.HelpName}} - {{.Usage}}

usage: {{.HelpName}} VERB [ARGUMENTS] [FLAGS]

verbs:{{range .VisibleCommands}}
  {{.Name}}{{"\t"}}{{.Usage}}{{end}}
`
	verbHelp = `{{.HelpName}} - {{.Usage}}

usage: {{.HelpName}}{{if .ArgsUsage}} {{.ArgsUsage}}{{end}} [FLAGS]
{{if .Description}}
{{wrap .Description 0}}
{{end}}{{if .VisibleFlags}}
flags:{{range .VisibleFlags}}
  {{.}}{{end}}
{{end}}
drummer-cmd --help lists the flags that every command takes.
`
)

// referenceVerb writes docs/cli.md; a test compares the two.
func (t *tool) referenceVerb() verb {
	return verb{
		name: "__reference", usage: "print the reference of all commands in Markdown", hidden: true,
		run: func(_ context.Context, _ *cli.Context) error { return t.write([]byte(reference(t.app()))) },
	}
}

const referenceHead = `# drummer-cmd

This page is generated from the commands; %s writes it anew.

    drummer-cmd COMMAND [ARGUMENTS] [FLAGS]

Flags may stand anywhere; behind ` + "`--`" + ` everything is an argument. A flag that a command does not know, or has no use for, is an
error. Data goes to standard output, everything else to standard error. [cli-json.md](cli-json.md) describes what ` + "`-o json`" + ` prints.

## Exit codes

| code | meaning |
|---|---|
| 0 | done |
| 1 | the operation failed |
| 2 | usage, configuration, or a request that breaks a rule |
| 3 | the cluster is unreachable, or has no leader: try again |
| 4 | not found |
| 5 | conflict: the name is taken, the revision is another, the group is being deleted |
| 6 | the time limit ended while waiting; what was begun goes on |
| 7 | part of it was done |
| 130 | interrupted |

## Flags of every command

`

// reference describes every command that is not hidden.
func reference(app *cli.App) string {
	var out strings.Builder
	fmt.Fprintf(&out, referenceHead, "`go test ./tools/drummer-cmd -run TestReference -update`")
	flagTable(&out, app.Flags)
	for _, c := range app.Commands {
		describe(&out, c, program)
	}
	return out.String()
}

func describe(out *strings.Builder, c *cli.Command, path string) {
	if c.Hidden {
		return
	}
	path += " " + c.Name
	if len(c.Subcommands) > 0 {
		for _, sub := range c.Subcommands {
			describe(out, sub, path)
		}
		return
	}
	call := path
	if c.ArgsUsage != "" {
		call += " " + c.ArgsUsage
	}
	fmt.Fprintf(out, "\n## %s\n\n    %s\n\n%s.\n", path, call, strings.ToUpper(c.Usage[:1])+c.Usage[1:])
	if c.Description != "" {
		fmt.Fprintf(out, "%s\n", c.Description)
	}
	if len(c.Flags) > 0 {
		out.WriteString("\n")
		flagTable(out, c.Flags)
	}
}

func flagTable(out *strings.Builder, flags []cli.Flag) {
	out.WriteString("| flag | environment | meaning |\n|---|---|---|\n")
	for _, f := range flags {
		doc, is := f.(cli.DocGenerationFlag)
		if !is {
			continue
		}
		value, text := placeholder(doc.GetUsage())
		var spelled []string
		for _, n := range f.Names() {
			spelled = append(spelled, "`"+arrange.Dashed(n)+value+"`")
		}
		if d := defaultText(doc); d != "" {
			text += "; default " + d
		}
		fmt.Fprintf(out, "| %s | %s | %s |\n", strings.Join(spelled, ", "), strings.Join(doc.GetEnvVars(), ", "), text)
	}
}

// defaultText is a flag's default, when it has one worth telling.
func defaultText(f cli.DocGenerationFlag) string {
	d := f.GetDefaultText()
	if d == "" || d == "false" || d == "0" || d == "off" || d == `""` {
		return ""
	}
	return "`" + strings.Trim(d, `"`) + "`"
}

// placeholder takes the name of the value out of a usage text.
func placeholder(text string) (value, rest string) {
	parts := strings.SplitN(text, "`", 3)
	if len(parts) < 3 {
		return "", text
	}
	return " " + parts[1], parts[0] + parts[1] + parts[2]
}
