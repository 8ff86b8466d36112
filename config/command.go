package config

import (
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// Exit codes of a server's command line.
const (
	ExitOK     = 0
	ExitFailed = 1
	ExitUsage  = 2 // usage or configuration
)

// NodeHostCommand answers what a nodehost can be asked without running: help,
// version, `config check [FILE]` and `config show [--origin]`. It returns false
// when args ask for none of these.
func NodeHostCommand(args, env []string, out, errOut io.Writer) (code int, done bool) {
	c := DefaultNodeHost()
	return command{
		program: "nodehost", about: "run a host of replicas", prefix: nodeHostEnv,
		target: &c, validate: func() error { return c.Validate() }, env: env, out: out, errOut: errOut,
	}.run(args)
}

// DrummerCommand is NodeHostCommand for a drummer.
func DrummerCommand(args, env []string, out, errOut io.Writer) (code int, done bool) {
	c := DefaultDrummer()
	return command{
		program: "drummer", about: "run a master of the cluster", prefix: drummerEnv,
		target: &c, validate: func() error { return c.Validate() }, env: env, out: out, errOut: errOut,
	}.run(args)
}

// Fail prints an error, one line for each of several joined ones, and returns the
// exit code of a usage or configuration error.
func Fail(errOut io.Writer, program string, err error) int {
	for line := range strings.SplitSeq(err.Error(), "\n") {
		_, _ = fmt.Fprintf(errOut, "%s: %s\n", program, line) // nowhere else to say it
	}
	return ExitUsage
}

type command struct {
	program, about, prefix string
	target                 any // pointer to the configuration, holding the defaults
	validate               func() error
	env                    []string
	out, errOut            io.Writer
}

func (c command) run(args []string) (int, bool) {
	if len(args) == 0 {
		return 0, false
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		return c.print(c.help()), true
	case "version", "-version", "--version":
		return c.print(c.program + " " + Version() + "\n"), true
	case "config":
		return c.config(args[1:]), true
	}
	if slices.ContainsFunc(args, func(a string) bool { return a == "--help" || a == "-h" }) {
		return c.print(c.help()), true
	}
	return 0, false
}

func (c command) config(args []string) int {
	verb := ""
	if len(args) > 0 {
		verb, args = args[0], args[1:]
	}
	switch verb {
	case "check":
		return c.check(args)
	case "show":
		return c.show(args)
	}
	return Fail(c.errOut, c.program, fmt.Errorf("unknown command %q; use config check [FILE] or config show [--origin]", strings.TrimSpace("config "+verb)))
}

// check loads and validates; a first argument that is no flag is the file.
func (c command) check(args []string) int {
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		args = append([]string{"--config", args[0]}, args[1:]...)
	}
	if _, err := load(c.target, c.prefix, args, c.env); err != nil {
		return Fail(c.errOut, c.program, err)
	}
	if err := c.validate(); err != nil {
		return Fail(c.errOut, c.program, err)
	}
	return c.print("configuration is valid\n")
}

// show prints the effective configuration, and whether it could run, in that
// order: an invalid one is what people want to look at most.
func (c command) show(args []string) int {
	origin := false
	args = slices.DeleteFunc(slices.Clone(args), func(a string) bool {
		asked := a == "--origin" || a == "-origin"
		origin = origin || asked
		return asked
	})
	from, err := load(c.target, c.prefix, args, c.env)
	if err != nil {
		return Fail(c.errOut, c.program, err)
	}
	text, err := c.render(from, origin)
	if err != nil {
		return Fail(c.errOut, c.program, err)
	}
	if code := c.print(text); code != ExitOK {
		return code
	}
	if err := c.validate(); err != nil {
		return Fail(c.errOut, c.program, err)
	}
	return ExitOK
}

// render writes the configuration as YAML, with origins as comments when asked.
func (c command) render(from origins, origin bool) (string, error) {
	var opts []yaml.EncodeOption
	if origin {
		comments := yaml.CommentMap{}
		for _, k := range keysOf(reflect.ValueOf(c.target).Elem(), "") {
			comments["$."+k.path] = []*yaml.Comment{originComment(k, from.of(k.path))}
		}
		opts = append(opts, yaml.WithComment(comments))
	}
	raw, err := yaml.MarshalWithOptions(c.target, opts...)
	if err != nil {
		return "", fmt.Errorf("show configuration: %w", err)
	}
	return string(raw), nil
}

// originComment goes behind a word, but above a list or a map, which have no line
// of their own to end.
func originComment(k key, from string) *yaml.Comment {
	if kind := k.value.Kind(); (kind == reflect.Slice || kind == reflect.Map) && k.value.Len() > 0 {
		return yaml.HeadComment(" " + from)
	}
	return yaml.LineComment(" " + from)
}

func (c command) print(text string) int {
	if _, err := io.WriteString(c.out, text); err != nil {
		_, _ = fmt.Fprintf(c.errOut, "%s: %v\n", c.program, err) // nowhere else to say it
		return ExitFailed
	}
	return ExitOK
}

func (c command) help() string {
	var b strings.Builder
	fmt.Fprintf(&b, `%[1]s - %[2]s

  %[1]s --config FILE [FLAGS]         run
  %[1]s config check [FILE] [FLAGS]   say what is wrong with a configuration
  %[1]s config show [--origin] [FLAGS]  print the configuration in force, and where each value came from
  %[1]s version

A value comes from a flag, else from the environment, else from the file, else it is the default.

  --config FILE (%[3]s_CONFIG)
`, c.program, c.about, c.prefix)
	for _, k := range keysOf(reflect.ValueOf(c.target).Elem(), "") {
		doc := k.doc
		if def := textOf(k.value); def != "" && def != "0" && def != "false" {
			doc += " (default " + def + ")"
		}
		fmt.Fprintf(&b, "  --%s (%s)\n        %s\n", k.flag(), k.env(c.prefix), doc)
	}
	return b.String()
}
