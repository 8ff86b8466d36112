package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"github.com/drumline/drumline/config/yamltree"
)

// maxFile bounds a configuration or launch file.
const maxFile = 16 << 20

// strict reads one YAML document into a struct, key by key, and notes where each
// key stood and everything that is wrong. The library's own strict mode stops at
// the first mistake and knows no nearest key.
type strict struct {
	file string
	errs []error
	at   map[string]token.Position // path of a leaf or a list's entry → where it stood
}

// readStrict reads a file over what v (a pointer to a struct) holds already.
func readStrict(file string, v any) (*strict, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	return readStrictFrom(file, f, v)
}

// readStrictFrom is readStrict of what is open already; file is its name in errors.
func readStrictFrom(file string, from io.Reader, v any) (*strict, error) {
	raw, err := io.ReadAll(io.LimitReader(from, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	if len(raw) > maxFile {
		return nil, fmt.Errorf("read configuration: %s has more than %d bytes, which is all that is read", file, maxFile)
	}
	return parseStrict(file, raw, v)
}

func parseStrict(file string, raw []byte, v any) (*strict, error) {
	s := &strict{file: file, at: map[string]token.Position{}}
	doc, err := yamltree.Parse(raw, 0)
	if err != nil {
		return nil, s.syntax(err)
	}
	bodies := slices.DeleteFunc(doc.Docs, func(d *ast.DocumentNode) bool { return d.Body == nil })
	if len(bodies) > 1 {
		return nil, fmt.Errorf("%s: has %d documents; write one", file, len(bodies))
	}
	if len(bodies) == 1 {
		s.value(bodies[0].Body, reflect.ValueOf(v).Elem(), "")
	}
	return s, errors.Join(s.errs...)
}

// syntax turns a parser's error into one line that names file, line and column.
func (s *strict) syntax(err error) error {
	var at yaml.Error
	if errors.As(err, &at) && at.GetToken() != nil {
		return fmt.Errorf("%s: %s", s.position(at.GetToken()), at.GetMessage())
	}
	return fmt.Errorf("%s: %w", s.file, err)
}

func (s *strict) position(t *token.Token) string {
	if t == nil || t.Position == nil {
		return s.file
	}
	return fmt.Sprintf("%s:%d:%d", s.file, t.Position.Line, t.Position.Column)
}

// where is the place of a path that was read, for the checks that come later.
func (s *strict) where(path string) string {
	p, ok := s.at[path]
	if !ok {
		return s.file
	}
	return fmt.Sprintf("%s:%d:%d", s.file, p.Line, p.Column)
}

func (s *strict) fail(n ast.Node, path, format string, args ...any) {
	if path != "" {
		path += ": "
	}
	s.errs = append(s.errs, fmt.Errorf("%s: %s%s", s.position(n.GetToken()), path, fmt.Sprintf(format, args...)))
}

// value reads a node into v, by v's type.
func (s *strict) value(n ast.Node, v reflect.Value, path string) {
	if t := n.GetToken(); t != nil && t.Position != nil {
		s.at[path] = *t.Position
	}
	switch n.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		s.fail(n, path, "anchors, aliases and tags are not read; write the value itself")
		return
	case *ast.NullNode:
		s.fail(n, path, "has no value; want %s, or leave the key out", kindName(v.Type()))
		return
	case *ast.CommentGroupNode:
		return // a file of comments alone
	}
	switch v.Kind() { //nolint:exhaustive // all others are scalars
	case reflect.Struct:
		s.object(n, v, path)
	case reflect.Map:
		s.dict(n, v, path)
	case reflect.Slice:
		s.list(n, v, path)
	default:
		s.scalar(n, v, path)
	}
}

func (s *strict) object(n ast.Node, v reflect.Value, path string) {
	fields := map[string]reflect.Value{}
	var known []string
	for _, f := range reflect.VisibleFields(v.Type()) {
		if name := f.Tag.Get("yaml"); name != "" && name != "-" {
			fields[name] = v.FieldByIndex(f.Index)
			known = append(known, name)
		}
	}
	s.entries(n, v.Type(), path, func(k ast.Node, name string, value ast.Node) {
		field, ok := fields[name]
		if !ok {
			s.fail(k, path, "unknown key %q; %s", name, hint(name, known))
			return
		}
		s.value(value, field, join(path, name))
	})
}

func (s *strict) dict(n ast.Node, v reflect.Value, path string) {
	m := reflect.MakeMap(v.Type())
	s.entries(n, v.Type(), path, func(_ ast.Node, name string, value ast.Node) {
		item := reflect.New(v.Type().Elem()).Elem()
		s.value(value, item, join(path, name))
		m.SetMapIndex(reflect.ValueOf(name), item)
	})
	v.Set(m)
}

// entries calls each for every key of a mapping, once; a repeated key is a fault.
func (s *strict) entries(n ast.Node, t reflect.Type, path string, each func(k ast.Node, name string, value ast.Node)) {
	m, ok := n.(ast.MapNode)
	if !ok {
		s.fail(n, path, "is %s; want %s", nodeName(n), kindName(t))
		return
	}
	seen := map[string]bool{}
	for it := m.MapRange(); it.Next(); {
		k, ok := it.Key().(ast.ScalarNode)
		if !ok || k.Type() == ast.MergeKeyType {
			s.fail(it.Key(), path, "has a key that is no plain word")
			continue
		}
		name := k.GetToken().Value
		if seen[name] {
			s.fail(k, path, "key %q is there twice", name)
			continue
		}
		seen[name] = true
		each(k, name, it.Value())
	}
}

func (s *strict) list(n ast.Node, v reflect.Value, path string) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		s.fail(n, path, "is %s; want a list", nodeName(n))
		return
	}
	items := reflect.MakeSlice(v.Type(), len(seq.Values), len(seq.Values))
	for i, value := range seq.Values {
		s.value(value, items.Index(i), fmt.Sprintf("%s[%d]", path, i))
	}
	v.Set(items)
}

// scalar takes text for text and numbers for numbers: a bare 1.10 or yes where a
// name is wanted has lost something already, so it must be quoted.
func (s *strict) scalar(n ast.Node, v reflect.Value, path string) {
	text, ok := "", false
	isDuration := v.Type() == reflect.TypeFor[Duration]()
	switch x := n.(type) {
	case *ast.StringNode:
		text, ok = x.Value, isDuration || v.Kind() == reflect.String
	case *ast.LiteralNode:
		text, ok = x.Value.Value, v.Kind() == reflect.String
	case *ast.BoolNode:
		text, ok = fmt.Sprint(x.Value), v.Kind() == reflect.Bool
	case *ast.IntegerNode:
		text, ok = fmt.Sprint(x.Value), !isDuration && (v.CanInt() || v.CanUint())
	}
	if !ok {
		quote := ""
		if _, plain := n.(ast.ScalarNode); plain && v.Kind() == reflect.String {
			quote = "; put it in quotes"
		}
		s.fail(n, path, "is %s; want %s%s", nodeName(n), kindName(v.Type()), quote)
		return
	}
	if err := setScalar(v, text); err != nil {
		s.fail(n, path, "%v", err)
	}
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
