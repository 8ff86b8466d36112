package shell

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/reeflective/readline"
)

// Script yields the lines of a file or a pipe; nothing is prompted for.
func Script(in io.Reader) Lines { return &script{bufio.NewScanner(in)} }

type script struct{ *bufio.Scanner }

// Next is the next line.
func (s *script) Next() (string, error) {
	if s.Scan() {
		return s.Text(), nil
	}
	switch err := s.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return "", fmt.Errorf("a line has more than %d bytes", bufio.MaxScanTokenSize)
	case err != nil:
		return "", err
	}
	return "", io.EOF
}

// Terminal yields what a person types, with editing, completion and a history that is
// kept in a file; an empty name keeps none.
func Terminal(history string, l Leaser) Lines {
	rl := readline.NewShell()
	rl.Prompt.Primary(func() string { return Prompt })
	rl.Completer = func(line []rune, cursor int) readline.Completions {
		return readline.CompleteValues(Complete(string(line[:cursor]), l.Holdings())...)
	}
	if history != "" && touch(history) == nil {
		rl.History.AddFromFile("capacity", history)
	}
	return &terminal{rl}
}

// touch makes the file, for this user alone, unless it is there: the library reads it first.
func touch(name string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return fmt.Errorf("history: %w", err)
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDONLY, 0o600)
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	return f.Close()
}

type terminal struct{ *readline.Shell }

// Next is what is typed next. Ctrl-C drops a line, Ctrl-D ends the session.
func (t *terminal) Next() (string, error) {
	line, err := t.Readline()
	if errors.Is(err, readline.ErrInterrupt) {
		return "", nil
	}
	return line, err
}

// Complete lists what may stand for the last word of a line: commands, then clients and
// resources that the session knows.
func Complete(line string, known []Holding) []string {
	words := strings.Fields(line)
	at := len(words)
	if at > 0 && !strings.HasSuffix(line, " ") {
		at--
	}
	var out []string
	switch {
	case at == 0:
		out = []string{"get", "help", "master", "quit", "release", "show"}
	case words[0] != "get" && words[0] != "release":
	case at == 1:
		for _, h := range known {
			out = append(out, quoted(h.Client))
		}
	case at == 2:
		for _, h := range known {
			out = append(out, quoted(h.Resource))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// quoted writes a word so that Split reads it back as one.
func quoted(word string) string {
	if word != "" && !strings.ContainsAny(word, " \t'\"\\") {
		return word
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(word) + `"`
}
