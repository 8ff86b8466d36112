// Package edit changes one entry in the text of an app's configuration file and leaves the
// rest of the text as people wrote it, with its comments. It is pure.
//
// An edit is of the text alone: what the new text says is for the app's Reader to tell, and
// whoever edits compares it with what was wanted.
package edit

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/drumline/drumline/config/yamltree"
)

// Form says where a file has its entries.
type Form struct {
	// List is the key of the list of entries, Match the key of an entry that says which names it is for.
	List, Match string
}

// FormOf is the form of an app's file.
func FormOf(app string) Form {
	if app == "capacity" { // Doorman's file
		return Form{List: "resources", Match: "identifier_glob"}
	}
	return Form{List: "templates", Match: "match"}
}

// Step changes one key of an entry.
type Step struct {
	// Path leads to the key, from the outside in.
	Path []string
	// Value is what it shall be, as YAML on one line; not used by Unset.
	Value string
	// Unset takes the key out.
	Unset bool
}

// Parse reads a step as people write it: KEY=VALUE, where KEY may be a path like
// algorithm.lease_length.
func Parse(text string) (Step, error) {
	key, value, ok := strings.Cut(text, "=")
	if !ok || strings.TrimSpace(value) == "" {
		return Step{}, fmt.Errorf("%q is not KEY=VALUE, like replicas=5 (a key is taken out with --unset)", text)
	}
	s := Step{Path: strings.Split(key, "."), Value: value}
	return s, s.check()
}

// ParseUnset reads the key that a step takes out.
func ParseUnset(key string) (Step, error) {
	s := Step{Path: strings.Split(key, "."), Unset: true}
	return s, s.check()
}

// maxDepth bounds a path, far above what any file has.
const maxDepth = 16

func (s Step) check() error {
	if len(s.Path) > maxDepth {
		return fmt.Errorf("%d keys in one path: at most %d make sense", len(s.Path), maxDepth)
	}
	for _, key := range s.Path {
		if key == "" || strings.ContainsAny(key, " \t\r\n:#{}[],&*!|>'\"%@`") {
			return fmt.Errorf("%q is no key: write those of the file, with dots between them, like algorithm.lease_length", strings.Join(s.Path, "."))
		}
	}
	if strings.ContainsAny(s.Value, "\r\n") {
		return fmt.Errorf("%s: a value is one line", strings.Join(s.Path, "."))
	}
	return nil
}

// Change makes the steps in the entry at a place of the list.
func Change(text []byte, form Form, at int, steps []Step) ([]byte, error) {
	f, m, err := openAt(text, form, at)
	if err != nil {
		return nil, err
	}
	return f.finish(m, steps)
}

// Copy puts a copy of the entry at a place of the list before it, as that of the name, and
// makes the steps in the copy.
func Copy(text []byte, form Form, at int, name string, steps []Step) ([]byte, error) {
	f, m, err := openAt(text, form, at)
	if err != nil {
		return nil, err
	}
	parsed, err := parse(m.String())
	if err != nil {
		return nil, fmt.Errorf("copy the entry: %w: edit the file, and apply it", err)
	}
	twin, ok := parsed.(*ast.MappingNode)
	if !ok {
		return nil, fmt.Errorf("copy the entry: it is a %s: edit the file, and apply it", parsed.Type())
	}
	f.insert(at, twin)
	return f.finish(twin, append([]Step{{Path: []string{form.Match}, Value: strconv.Quote(name)}}, steps...))
}

// openAt reads a file, and finds the entry at a place of its list.
func openAt(raw []byte, form Form, at int) (*text, *ast.MappingNode, error) {
	f, err := open(raw, form)
	if err != nil {
		return nil, nil, err
	}
	m, err := f.entry(at)
	return f, m, err
}

// text is a file on its way.
type text struct {
	file *ast.File
	list *ast.SequenceNode
}

func open(raw []byte, form Form) (*text, error) {
	file, err := yamltree.Parse(raw, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	f := &text{file: file}
	for _, doc := range file.Docs {
		top, ok := doc.Body.(*ast.MappingNode)
		if !ok {
			continue
		}
		if v := find(top, form.List); v != nil {
			f.list, _ = v.Value.(*ast.SequenceNode)
		}
	}
	if f.list == nil {
		return nil, fmt.Errorf("the text in force has no plain list of %s: edit the file, and apply it", form.List)
	}
	return f, nil
}

// entry is the mapping at a place.
func (f *text) entry(at int) (*ast.MappingNode, error) {
	if at < 0 || at >= len(f.list.Values) {
		return nil, fmt.Errorf("the text in force has %d entries, and none at %d: edit the file, and apply it", len(f.list.Values), at)
	}
	m, err := mapping(f.list.Values[at])
	if err != nil {
		return nil, fmt.Errorf("entry %d %w", at+1, err)
	}
	return m, nil
}

// insert puts an entry before the one at a place, behind its comment.
func (f *text) insert(at int, m *ast.MappingNode) {
	l := f.list
	if len(l.ValueHeadComments) == len(l.Values) {
		comments := append([]*ast.CommentGroupNode{}, l.ValueHeadComments[:at]...)
		l.ValueHeadComments = append(append(comments, nil), l.ValueHeadComments[at:]...)
	}
	values := append([]ast.Node{}, l.Values[:at]...)
	l.Values = append(append(values, m), l.Values[at:]...)
}

func (f *text) finish(m *ast.MappingNode, steps []Step) ([]byte, error) {
	for _, s := range steps {
		if err := s.in(m); err != nil {
			return nil, fmt.Errorf("%s: %w", strings.Join(s.Path, "."), err)
		}
	}
	return []byte(strings.TrimRight(f.file.String(), "\n") + "\n"), nil
}

// in goes down as far as there are mappings, and makes what is missing.
func (s Step) in(m *ast.MappingNode) error {
	path := s.Path
	for len(path) > 1 {
		v := find(m, path[0])
		if v == nil || empty(v.Value) {
			break
		}
		next, err := mapping(v.Value)
		if err != nil {
			return fmt.Errorf("%s %w", path[0], err)
		}
		m, path = next, path[1:]
	}
	if s.Unset {
		return unset(m, path)
	}
	return set(m, path, s.Value)
}

// unset takes a key out.
func unset(m *ast.MappingNode, path []string) error {
	if len(path) > 1 || find(m, path[0]) == nil {
		return errors.New("the entry does not say it")
	}
	kept := []*ast.MappingValueNode{}
	for _, v := range m.Values {
		if !strings.EqualFold(v.Key.GetToken().Value, path[0]) {
			kept = append(kept, v)
		}
	}
	m.Values = kept
	return nil
}

// set writes a key, in the style of the mapping and in the place of what it was.
func set(m *ast.MappingNode, path []string, value string) error {
	v, err := pair(m, path, value)
	if err != nil {
		return err
	}
	kept, done := []*ast.MappingValueNode{}, false
	for _, old := range m.Values {
		switch {
		case !strings.EqualFold(old.Key.GetToken().Value, path[0]):
			kept = append(kept, old)
		case !done: // one that is there twice is there once afterwards
			if old.Comment != nil {
				v.Comment = old.Comment
			}
			v.FootComment = old.FootComment
			kept, done = append(kept, v), true
		}
	}
	if !done {
		kept = append(kept, v)
	}
	m.Values = kept
	return nil
}

// pair makes a key with its value, placed as its neighbours are.
func pair(m *ast.MappingNode, path []string, value string) (*ast.MappingValueNode, error) {
	var b strings.Builder
	if m.IsFlowStyle || len(m.Values) == 0 {
		b.WriteString("{" + strings.Join(path, ": {") + ": " + value + strings.Repeat("}", len(path)))
	} else {
		space := m.Values[0].Key.GetToken().Position.Column - 1
		for i, key := range path {
			fmt.Fprintf(&b, "%s%s:", strings.Repeat(" ", space+2*i), key)
			if i < len(path)-1 {
				b.WriteString("\n")
			}
		}
		b.WriteString(" " + value + "\n")
	}
	n, err := parse(b.String())
	if err != nil {
		return nil, fmt.Errorf("%q is no value: it is YAML on one line, like 5, 60s, \"a text\", [east, west] or {east: 2}", value)
	}
	made, ok := n.(*ast.MappingNode)
	if !ok || len(made.Values) != 1 {
		return nil, fmt.Errorf("%q is more than one value", value)
	}
	if len(m.Values) == 0 {
		m.IsFlowStyle = true
	}
	return made.Values[0], nil
}

// parse reads one document.
func parse(raw string) (ast.Node, error) {
	file, err := yamltree.Parse([]byte(raw), parser.ParseComments)
	if err != nil {
		return nil, err
	}
	if len(file.Docs) != 1 || file.Docs[0].Body == nil {
		return nil, errors.New("it is no single document")
	}
	return file.Docs[0].Body, nil
}

// find is the last value of a key, which is the one that counts; what is merged in is not looked at.
func find(m *ast.MappingNode, key string) (found *ast.MappingValueNode) {
	for _, v := range m.Values {
		if strings.EqualFold(v.Key.GetToken().Value, key) {
			found = v
		}
	}
	return found
}

func empty(n ast.Node) bool {
	_, null := n.(*ast.NullNode)
	return null || n == nil
}

// mapping looks through an anchor; an alias stands for what others have too.
func mapping(n ast.Node) (*ast.MappingNode, error) {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n, nil
	case *ast.AnchorNode:
		return mapping(n.Value)
	case *ast.AliasNode:
		return nil, errors.New("is an alias of what stands elsewhere: edit the file, and apply it")
	}
	return nil, errors.New("has no keys")
}
