// Package yamltree parses YAML that people write. The library below takes memory by the
// square of the depth of what it reads, or all of the stack: a megabyte of brackets is gigabytes.
// So what nests deeper than any configuration does is refused before it is parsed.
package yamltree

import (
	"bytes"
	"fmt"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

const (
	// maxDepth bounds collections in collections that are written on one line or in brackets.
	// What is nested by indentation takes a longer line for each level, and needs no bound.
	maxDepth = 64
	// maxOpen bounds brackets that are not closed before words are made of the text, which
	// takes memory for each of them; text in quotes may have some.
	maxOpen = 10_000
)

// mark of the byte order, which some editors write before a text.
const mark = "\ufeff"

// Parse parses a text. Keys may be there twice: that is the caller's to judge. An error with a
// place is a yaml.Error.
func Parse(text []byte, mode parser.Mode) (*ast.File, error) {
	text = bytes.TrimPrefix(text, []byte(mark))
	if open(text) > maxOpen {
		return nil, fmt.Errorf("more than %d brackets are open at once", maxOpen)
	}
	tokens := lexer.Tokenize(string(text))
	if err := shallow(tokens); err != nil {
		return nil, err
	}
	return parser.Parse(tokens, mode, parser.AllowDuplicateMapKey()) //nolint:wrapcheck // its errors have places
}

// open is how many brackets are open at once, wherever they stand.
func open(text []byte) (most int) {
	n := 0
	for _, c := range text {
		switch c {
		case '[', '{':
			n++
			most = max(most, n)
		case ']', '}':
			n = max(0, n-1)
		}
	}
	return most
}

// shallow refuses what nests too deep.
func shallow(tokens token.Tokens) error {
	brackets, entries, line := 0, 0, 0
	for _, t := range tokens {
		if t.Position != nil && t.Position.Line != line {
			entries, line = 0, t.Position.Line
		}
		switch t.Type { //nolint:exhaustive // the others nest nothing
		case token.MappingStartType, token.SequenceStartType:
			brackets++
		case token.MappingEndType, token.SequenceEndType:
			brackets--
		case token.SequenceEntryType, token.MappingKeyType:
			entries++
		}
		if brackets+entries > maxDepth {
			return &yaml.SyntaxError{Message: fmt.Sprintf("it is nested deeper than %d levels", maxDepth), Token: t}
		}
	}
	return nil
}
