// Package reference writes docs/cli.md from the commands of drummer-cmd.
package reference

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/drumline/drumline/tools/drummer-cmd/internal/arrange"
)

const head = `# drummer-cmd

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

// Page describes every command of the app that is not hidden, under the program's name.
func Page(app *cli.App, program string) string {
	var out strings.Builder
	fmt.Fprintf(&out, head, "`go test ./tools/drummer-cmd -run TestReference -update`")
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
