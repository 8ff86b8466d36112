package shell

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"
)

// errUnclosed is the error of a quote without an end, errBytes of a line that is no text.
var (
	errUnclosed = errors.New("a quote has no end")
	errBytes    = errors.New("the line is not UTF-8")
)

// Split cuts a line into words as a shell does: quotes, single or double, hold a word
// together, and a backslash takes the next character as it is, except in single quotes.
func Split(line string) ([]string, error) {
	if !utf8.ValidString(line) {
		return nil, errBytes
	}
	sp := splitter{}
	for _, c := range line {
		sp.take(c)
	}
	if sp.quote != 0 || sp.escaped {
		return nil, errUnclosed
	}
	sp.end()
	return sp.words, nil
}

// splitter is a line that is being cut.
type splitter struct {
	words   []string
	word    strings.Builder
	open    bool // a word has begun, be it an empty one in quotes
	quote   rune // the open one, or 0
	escaped bool // the character before was a backslash
}

func (sp *splitter) take(c rune) {
	switch {
	case sp.escaped:
		sp.escaped = false
		sp.add(c)
	case c == '\\' && sp.quote != '\'':
		sp.escaped, sp.open = true, true
	case c == sp.quote:
		sp.quote = 0
	case sp.quote != 0:
		sp.add(c)
	case c == '\'' || c == '"':
		sp.quote, sp.open = c, true
	case unicode.IsSpace(c):
		sp.end()
	default:
		sp.add(c)
	}
}

func (sp *splitter) add(c rune) {
	sp.open = true
	sp.word.WriteRune(c)
}

func (sp *splitter) end() {
	if sp.open {
		sp.words = append(sp.words, sp.word.String())
	}
	sp.word.Reset()
	sp.open = false
}
