package apps

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/config/template"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
)

// maxGroups is the most groups that Drummer's record holds.
const maxGroups = 1_000_000

// Of makes the Reader of an app that has no file of its own to be true to:
//
//	max_groups: 1000
//	templates:
//	- match: "orders/*"
//	  replicas: 3                   # and regions or each_region, require, forbid, isolation, leaders, down_after, auto_create, raft
//	  options: {…}                  # fields of the app's options message, as in its .proto
//
// options makes an empty message of the app's options, check says what is wrong with a
// filled one. Keys that nobody knows are errors.
func Of(app string, options func() proto.Message, check func(proto.Message) error) Reader {
	return func(name string, text []byte) (File, error) {
		r := &reader{file: name, strict: true}
		c := &fleetpb.Configuration{App: app, Source: text}
		body := r.document(text)
		var bound int64
		if !isNull(body) {
			r.object(body, "", map[string]field{
				"max_groups": r.integer(&bound, 1, maxGroups),
				"templates": func(n ast.Node, path string) {
					r.list(n, path, func(n ast.Node, path string) {
						t := plainTemplate{reader: r, options: options(), check: check}
						c.Templates = append(c.Templates, t.read(n, path))
					})
				},
			})
		}
		c.MaxGroups = uint32(bound)
		r.warnOfTwins(c.GetTemplates())
		if len(r.errs) > 0 {
			return File{}, errors.Join(r.errs...)
		}
		return File{Configuration: c, Warnings: r.warnings}, nil
	}
}

// plainTemplate is one entry on its way.
type plainTemplate struct {
	*reader
	options proto.Message
	check   func(proto.Message) error
}

func (t plainTemplate) read(n ast.Node, path string) *fleetpb.Template {
	p, match := defaultPlaced(n), ""
	t.object(n, path, p.fields(t.reader, map[string]field{"match": t.text(&match), "options": t.fill}))
	if match == "" {
		t.fail(n, path, "has no match: say which names it is for, * for all without a slash")
	}
	if err := template.Check(match); err != nil {
		t.fail(n, path, "match: %v", err)
	}
	if err := t.check(t.options); err != nil {
		t.fail(n, path, "options: %v", err)
	}
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(t.options)
	if err != nil {
		t.fail(n, path, "options: %v", err)
	}
	return p.template(t.reader, path, match, raw)
}

// fill reads the options by way of JSON, which protobuf knows by heart.
func (t plainTemplate) fill(n ast.Node, path string) {
	var value map[string]any
	raw, err := []byte(nil), yaml.NodeToValue(n, &value)
	if err == nil {
		raw, err = json.Marshal(value)
	}
	if err == nil {
		err = protojson.Unmarshal(raw, t.options)
	}
	if err != nil {
		t.fail(n, path, "%s", plainError(err))
	}
}

// inJSON is how protobuf says where an error is.
var inJSON = regexp.MustCompile(`^proto:[\s\x{a0}]*(\(line \d+:\d+\):\s*)?`) //nolint:gochecknoglobals // a constant in all but type

// plainError leaves out where in the JSON it was: that JSON is in no file.
func plainError(err error) string {
	var at yaml.Error
	if errors.As(err, &at) {
		return at.GetMessage()
	}
	return inJSON.ReplaceAllString(err.Error(), "")
}

// warnOfTwins warns of templates that an earlier one of the same match hides.
func (r *reader) warnOfTwins(list []*fleetpb.Template) {
	first := map[string]int{}
	for i, t := range list {
		if at, twice := first[t.GetMatch()]; twice {
			r.warnings = append(r.warnings, fmt.Sprintf("%s: templates[%d]: match %q is that of templates[%d]; this one is never used", r.file, i, t.GetMatch(), at))
			continue
		}
		first[t.GetMatch()] = i
	}
}
