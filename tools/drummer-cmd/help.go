package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"github.com/drumline/drumline/tools/drummer-cmd/internal/reference"
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
		run: func(_ context.Context, _ *cli.Context) error {
			return t.write([]byte(reference.Page(t.app(), program)))
		},
	}
}
