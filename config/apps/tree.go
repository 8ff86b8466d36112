// Package apps reads the configuration files of apps: YAML that becomes a
// fleetpb.Configuration, which drummer-cmd applies.
//
// Of makes the reader of an app that has no old file to be true to. Capacity reads
// Doorman's file as the original does: keys in any case, unknown keys
// ignored (with a warning), anchors and merge keys allowed. What the original refuses is
// refused, and what it accepts and dies of later too; all that is wrong is reported, each
// with file, line and column.
package apps

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"github.com/drumline/drumline/config/yamltree"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
)

// File is a file that was read.
type File struct {
	// Configuration to apply, with its source; who applies it is for the caller to say.
	Configuration *fleetpb.Configuration
	// Warnings are sentences about what is accepted and may be a mistake, each with its place.
	Warnings []string
}

// Reader makes a File of a file's text; the name is for messages.
type Reader func(name string, text []byte) (File, error)

// reader reads one document and notes all that is wrong with it.
type reader struct {
	file     string
	errs     []error
	warnings []string
	anchors  map[string]ast.Node
	merged   int  // mappings that were merged into others
	strict   bool // unknown keys are errors
}

// field takes one key's value.
type field func(n ast.Node, path string)

// maxDepth bounds aliases that lead to aliases, maxMerged the mappings merged in all.
const (
	maxDepth  = 32
	maxMerged = 10_000
)

// document parses a text of one document; nil when it is empty.
func (r *reader) document(text []byte) ast.Node {
	doc, err := yamltree.Parse(text, 0)
	if err != nil {
		var at yaml.Error
		if errors.As(err, &at) && at.GetToken() != nil {
			err = fmt.Errorf("%s: %s", r.position(at.GetToken()), at.GetMessage())
		} else {
			err = fmt.Errorf("%s: %w", r.file, err)
		}
		r.errs = append(r.errs, err)
		return nil
	}
	bodies := slices.DeleteFunc(doc.Docs, func(d *ast.DocumentNode) bool {
		_, comments := d.Body.(*ast.CommentGroupNode)
		return d.Body == nil || comments
	})
	switch len(bodies) {
	case 0:
		return nil
	case 1:
	default:
		r.errs = append(r.errs, fmt.Errorf("%s: has %d documents; write one", r.file, len(bodies)))
		return nil
	}
	ast.Walk(r, bodies[0].Body)
	return bodies[0].Body
}

// Visit collects anchors, as an ast.Visitor.
func (r *reader) Visit(n ast.Node) ast.Visitor {
	if a, ok := n.(*ast.AnchorNode); ok {
		if r.anchors == nil {
			r.anchors = map[string]ast.Node{}
		}
		r.anchors[a.Name.GetToken().Value] = a.Value
	}
	return r
}

// plain follows aliases and anchors to the value itself.
func (r *reader) plain(n ast.Node, path string) ast.Node {
	for range maxDepth {
		switch x := n.(type) {
		case *ast.AnchorNode:
			n = x.Value
		case *ast.AliasNode:
			value, known := r.anchors[x.Value.GetToken().Value]
			if !known {
				r.fail(x, path, "no anchor has the name %q", x.Value.GetToken().Value)
				return nil
			}
			n = value
		default:
			return n
		}
	}
	r.fail(n, path, "its aliases lead in a circle")
	return nil
}

func (r *reader) position(t *token.Token) string {
	if t == nil || t.Position == nil {
		return r.file
	}
	return fmt.Sprintf("%s:%d:%d", r.file, t.Position.Line, t.Position.Column)
}

func (r *reader) sentence(n ast.Node, path, format string, args ...any) string {
	at := r.file
	if n != nil {
		at = r.position(first(n).GetToken())
	}
	if path != "" {
		path += ": "
	}
	return at + ": " + path + fmt.Sprintf(format, args...)
}

// first is where a mapping begins: its own token is the colon behind its first key.
func first(n ast.Node) ast.Node {
	if m, ok := n.(ast.MapNode); ok {
		if it := m.MapRange(); it.Next() {
			return it.Key()
		}
	}
	return n
}

func (r *reader) fail(n ast.Node, path, format string, args ...any) {
	r.errs = append(r.errs, errors.New(r.sentence(n, path, format, args...)))
}

func (r *reader) warn(n ast.Node, path, format string, args ...any) {
	r.warnings = append(r.warnings, r.sentence(n, path, format, args...))
}

// object hands each key's value to its field. Keys count in any case, as the original's
// do; of a key that is there twice the last one counts.
func (r *reader) object(n ast.Node, path string, fields map[string]field) {
	for key, e := range r.entries(n, path) {
		known, ok := fields[key]
		switch {
		case !ok && r.strict:
			r.fail(e.key, path, "key %q is not known", e.key.GetToken().Value)
		case !ok:
			r.warn(e.key, path, "key %q is not known and is ignored", e.key.GetToken().Value)
		case isNull(e.value): // as if it were not there
		default:
			known(e.value, join(path, key))
		}
	}
}

// entry is a key with its value.
type entry struct{ key, value ast.Node }

// ordered are the entries of a mapping, in order, by lower-case key.
type ordered = func(yield func(string, entry) bool)

// entries lists a mapping; what it merges in counts less than what it says itself.
func (r *reader) entries(n ast.Node, path string) ordered {
	n = r.plain(n, path)
	m, ok := n.(ast.MapNode)
	if !ok {
		if n != nil {
			r.fail(n, path, "is %s; want keys with values", nodeName(n))
		}
		return func(func(string, entry) bool) {}
	}
	l := &listing{found: map[string]entry{}, own: map[string]bool{}}
	for it := m.MapRange(); it.Next(); {
		k, scalar := it.Key().(ast.ScalarNode)
		switch {
		case !scalar:
			r.fail(it.Key(), path, "has a key that is no plain word")
		case k.Type() == ast.MergeKeyType:
			r.merge(l, it.Value(), path)
		default:
			key := strings.ToLower(k.GetToken().Value)
			if l.own[key] {
				r.warn(k, path, "key %q is there twice; the last one counts", k.GetToken().Value)
			}
			l.own[key] = true
			l.put(key, entry{k, r.plain(it.Value(), join(path, key))})
		}
	}
	return l.all
}

// merge takes in what a mapping, or each of a list of them, says.
func (r *reader) merge(l *listing, n ast.Node, path string) {
	n = r.plain(n, path)
	parts := []ast.Node{n}
	if seq, is := n.(*ast.SequenceNode); is {
		parts = seq.Values
	}
	for _, part := range parts {
		if r.merged++; r.merged > maxMerged {
			r.fail(n, path, "merges too much, or itself")
			return
		}
		if part == nil {
			continue
		}
		for key, e := range r.entries(part, path) {
			if !l.own[key] {
				l.put(key, e)
			}
		}
	}
}

// listing is a mapping on its way into order.
type listing struct {
	keys  []string
	found map[string]entry
	own   map[string]bool // keys that it says itself
}

func (l *listing) put(key string, e entry) {
	if _, had := l.found[key]; !had {
		l.keys = append(l.keys, key)
	}
	l.found[key] = e
}

func (l *listing) all(yield func(string, entry) bool) {
	for _, key := range l.keys {
		if !yield(key, l.found[key]) {
			return
		}
	}
}

// list calls each for every item.
func (r *reader) list(n ast.Node, path string, each field) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		r.fail(n, path, "is %s; want a list", nodeName(n))
		return
	}
	for i, value := range seq.Values {
		at := fmt.Sprintf("%s[%d]", path, i)
		if value = r.plain(value, at); value != nil {
			each(value, at)
		}
	}
}

// text reads a string.
func (r *reader) text(to *string) field {
	return func(n ast.Node, path string) {
		switch x := n.(type) {
		case *ast.StringNode:
			*to = x.Value
		case *ast.LiteralNode:
			*to = x.Value.Value
		default:
			r.fail(n, path, "is %s; want text; put it in quotes", nodeName(n))
		}
	}
}

// number reads a finite number.
func (r *reader) number(to *float64) field {
	return func(n ast.Node, path string) {
		switch x := n.(type) {
		case *ast.IntegerNode:
			if f, ok := asFloat(x.Value); ok {
				*to = f
				return
			}
		case *ast.FloatNode:
			if finite(x.Value) {
				*to = x.Value
				return
			}
		case *ast.StringNode: // 1e3 is a number in YAML, and text to the parser
			f, err := strconv.ParseFloat(x.Value, 64)
			if x.Token.Type == token.StringType && err == nil && finite(f) {
				*to = f
				return
			}
		}
		r.fail(n, path, "is %s; want a number, not in quotes", nodeName(n))
	}
}

func finite(f float64) bool { return !math.IsInf(f, 0) && !math.IsNaN(f) }

func asFloat(v any) (float64, bool) {
	switch i := v.(type) {
	case uint64:
		return float64(i), true
	case int64:
		return float64(i), true
	}
	return 0, false
}

// integer reads a whole number from least to most.
func (r *reader) integer(to *int64, least, most int64) field {
	return func(n ast.Node, path string) {
		var v int64
		ok := false
		if x, whole := n.(*ast.IntegerNode); whole {
			switch i := x.Value.(type) {
			case uint64:
				v, ok = int64(i), i <= math.MaxInt64
			case int64:
				v, ok = i, true
			}
		}
		switch {
		case !ok:
			r.fail(n, path, "is %s; want a whole number", nodeName(n))
		case v < least || v > most:
			r.fail(n, path, "is %d; want %d to %d", v, least, most)
		default:
			*to = v
		}
	}
}

// flag reads true or false.
func (r *reader) flag(to *bool) field {
	return func(n ast.Node, path string) {
		b, ok := n.(*ast.BoolNode)
		if !ok {
			r.fail(n, path, "is %s; want true or false", nodeName(n))
			return
		}
		*to = b.Value
	}
}

func isNull(n ast.Node) bool {
	_, null := n.(*ast.NullNode)
	return null || n == nil
}

// nodeName says for people what stands in the file.
func nodeName(n ast.Node) string {
	switch n.(type) {
	case *ast.SequenceNode:
		return "a list"
	case ast.MapNode:
		return "keys with values"
	case *ast.StringNode, *ast.LiteralNode:
		return "text"
	}
	return strings.TrimSpace(n.GetToken().Value)
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
