package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"sigs.k8s.io/yaml"
)

// print writes data in the format asked for. Everything of it is written: a table
// is as wide as its content.
func (t *tool) print(data any, table func() *grid) error {
	var text []byte
	switch t.opts.output {
	case "json":
		raw, err := marshal(data, "  ")
		if err != nil {
			return fmt.Errorf("write json: %w", err)
		}
		text = raw
	case "yaml":
		raw, err := yaml.Marshal(data)
		if err != nil {
			return fmt.Errorf("write yaml: %w", err)
		}
		text = raw
	default:
		text = []byte(table().render(t.colored()))
	}
	return t.write(text)
}

func (t *tool) write(text []byte) error {
	if _, err := t.out.Write(text); err != nil {
		return fmt.Errorf("write the output: %w", err)
	}
	return nil
}

// marshal keeps <, > and & as they are: this is for jq, not for HTML.
func marshal(data any, indent string) ([]byte, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	err := e.Encode(data)
	return out.Bytes(), err
}

func (t *tool) colored() bool { return !t.opts.noColor && terminal(t.out) }

// grid is a table: a header, rows, and two spaces between columns.
type grid struct {
	header []string
	rows   [][]string
}

func newGrid(header ...string) *grid { return &grid{header: header} }

func (g *grid) add(cells ...string) { g.rows = append(g.rows, cells) }

func (g *grid) render(colored bool) string {
	widths := make([]int, len(g.header))
	for _, row := range append([][]string{g.header}, g.rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var out strings.Builder
	g.line(&out, widths, g.header, false)
	for _, row := range g.rows {
		g.line(&out, widths, row, colored)
	}
	return out.String()
}

func (g *grid) line(out *strings.Builder, widths []int, row []string, colored bool) {
	var line strings.Builder
	for i, cell := range row {
		pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2)
		if colored && g.header[i] == "STATE" {
			cell = paint(cell)
		}
		line.WriteString(cell + pad)
	}
	out.WriteString(strings.TrimRight(line.String(), " ") + "\n")
}

// paint colours a state: it is also said in words.
func paint(state string) string {
	color := map[string]string{
		"ok": "32", "up": "32", "launching": "36", "starting": "36", "catching-up": "36", "deleting": "36", "removing": "36",
		"degraded": "33", "suspect": "33", "unavailable": "31", "down": "31", "lost": "31",
	}[state]
	if color == "" {
		return state
	}
	return "\x1b[" + color + "m" + state + "\x1b[0m"
}

// list renders a list; no items give the header, or [].
func list[T any](t *tool, items []T, header []string, row func(T) []string) error {
	if items == nil {
		items = []T{}
	}
	return t.print(items, func() *grid {
		g := newGrid(header...)
		for _, item := range items {
			g.add(row(item)...)
		}
		return g
	})
}

// readable shows bytes to a person: as text when they are, quoted or in hex when
// they would play tricks on a terminal.
func readable(data []byte) string {
	switch {
	case !utf8.Valid(data):
		return fmt.Sprintf("0x%x", data)
	case strings.IndexFunc(string(data), func(r rune) bool { return !unicode.IsPrint(r) }) >= 0:
		return fmt.Sprintf("%q", data)
	default:
		return string(data)
	}
}

// readableText is readable for a whole answer: lines stay lines.
func readableText(data []byte) string {
	odd := func(r rune) bool { return r != '\n' && r != '\t' && !unicode.IsPrint(r) }
	if utf8.Valid(data) && strings.IndexFunc(string(data), odd) < 0 {
		if len(data) > 0 && data[len(data)-1] != '\n' {
			return string(data) + "\n"
		}
		return string(data)
	}
	return fmt.Sprintf("0x%x\n", data)
}

// capture lets f write into memory.
func (t *tool) capture(f func() error) ([]byte, error) {
	var out bytes.Buffer
	defer func(w io.Writer) { t.out = w }(t.out)
	t.out = &out
	err := f()
	return out.Bytes(), err
}
