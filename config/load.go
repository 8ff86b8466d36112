package config

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"reflect"
	"strings"
)

// Prefixes of the environment variables of both servers.
const (
	nodeHostEnv = "NODEHOST"
	drummerEnv  = "DRUMMER"
)

// LoadNodeHost returns a nodehost's configuration: defaults, file, environment
// (as os.Environ gives it) and flags (without the program's name), validated.
func LoadNodeHost(args, env []string) (NodeHost, error) {
	c := DefaultNodeHost()
	_, err := load(&c, nodeHostEnv, args, env)
	if err != nil {
		return c, err
	}
	return c, c.Validate()
}

// LoadDrummer returns a drummer's configuration: defaults, file, environment (as
// os.Environ gives it) and flags (without the program's name), validated.
func LoadDrummer(args, env []string) (Drummer, error) {
	c := DefaultDrummer()
	_, err := load(&c, drummerEnv, args, env)
	if err != nil {
		return c, err
	}
	return c, c.Validate()
}

// origins tells for each key's path where its value came from.
type origins map[string]string

func (o origins) of(path string) string {
	if from, ok := o[path]; ok {
		return from
	}
	return "default"
}

// load fills v, a pointer to a struct that holds the defaults.
func load(v any, prefix string, args, env []string) (origins, error) {
	from := origins{}
	keys := keysOf(reflect.ValueOf(v).Elem(), "")
	vars := environ(env)
	flags, err := parseFlags(keys, args)
	if err != nil {
		return nil, err
	}
	file, named := flags["config"]
	if !named {
		file = vars[prefix+"_CONFIG"]
	}
	if file != "" {
		s, err := readStrict(file, v)
		if err != nil {
			return nil, err
		}
		for _, k := range keys {
			if _, set := s.at[k.path]; set {
				from[k.path] = s.where(k.path)
			}
		}
	}
	return from, overlay(keys, prefix, vars, flags, from)
}

// overlay sets what the environment and the flags say, flags last.
func overlay(keys []key, prefix string, vars, flags map[string]string, from origins) error {
	var errs []error
	set := func(k key, text, origin string) {
		if err := setText(k.value, text); err != nil {
			errs = append(errs, fmt.Errorf("%s: %s: %w", origin, k.path, err))
		}
		from[k.path] = origin
	}
	for _, k := range keys {
		if text, ok := vars[k.env(prefix)]; ok {
			set(k, text, "environment "+k.env(prefix))
		}
		if text, ok := flags[k.flag()]; ok {
			set(k, text, "flag --"+k.flag())
		}
	}
	return errors.Join(errs...)
}

func environ(env []string) map[string]string {
	vars := make(map[string]string, len(env))
	for _, e := range env {
		if name, value, ok := strings.Cut(e, "="); ok {
			vars[name] = value
		}
	}
	return vars
}

// parseFlags returns the flags that are there. Whatever is left over is an error:
// a flag behind a stray word would be ignored otherwise.
func parseFlags(keys []key, args []string) (map[string]string, error) {
	set := flag.NewFlagSet("", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.Usage = func() {}
	given := map[string]string{}
	known := []string{"config"}
	set.Func("config", "", func(s string) error { given["config"] = s; return nil })
	for _, k := range keys {
		name := k.flag()
		known = append(known, name)
		store := func(s string) error { given[name] = s; return nil }
		if k.value.Kind() == reflect.Bool {
			set.BoolFunc(name, "", store)
			continue
		}
		set.Func(name, "", store)
	}
	if err := set.Parse(args); err != nil {
		if unknown, ok := strings.CutPrefix(err.Error(), "flag provided but not defined: -"); ok {
			return nil, fmt.Errorf("unknown flag --%s; %s", unknown, flagHint(unknown, known))
		}
		return nil, fmt.Errorf("flags: %w", err)
	}
	if set.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q; values belong to flags, like --config FILE", set.Arg(0))
	}
	return given, nil
}

func flagHint(unknown string, known []string) string {
	if n := nearest(strings.TrimLeft(unknown, "-"), known); n != "" {
		return "did you mean --" + n + "?"
	}
	return "--help lists them"
}
