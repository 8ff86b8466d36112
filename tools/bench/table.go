package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/drumline/drumline/tools/bench/measure"
)

// table is printed as markdown that is also readable as it is.
type table struct {
	out    io.Writer
	header []string
	lines  []string
}

func newTable(out io.Writer, header ...string) *table { return &table{out: out, header: header} }

// row adds a row; remark, which says what makes it doubtful, comes after it.
func (t *table) row(remark string, cells ...string) {
	line := "| " + strings.Join(cells, "\t| ") + "\t|"
	if remark != "" {
		line += " " + remark
	}
	t.lines = append(t.lines, line)
}

func (t *table) print() error {
	w := tabwriter.NewWriter(t.out, 0, 4, 1, ' ', 0)
	lines := append([]string{
		"| " + strings.Join(t.header, "\t| ") + "\t|",
		"|" + strings.Repeat("---\t|", len(t.header)),
	}, t.lines...)
	for _, l := range lines {
		if _, err := fmt.Fprintln(w, l); err != nil {
			return fmt.Errorf("print the table: %w", err)
		}
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("print the table: %w", err)
	}
	return nil
}

// none is the cell of what was not measured.
const none = "–"

func whole(n int) string { return strconv.Itoa(n) }

func ratio(a, b float64) string {
	if b == 0 {
		return none
	}
	return fmt.Sprintf("%.2f", a/b)
}

// positive prints a number unless there is none.
func positive(format string, v float64) string {
	if v == 0 {
		return none
	}
	return fmt.Sprintf(format, v)
}

// failures says after a row what makes it doubtful.
func failures(samples ...measure.Sample) string {
	var texts []string
	for _, s := range samples {
		if s.Failed > 0 {
			texts = append(texts, strings.TrimSuffix(fmt.Sprintf("%s: %d failed: %s", s.Name(), s.Failed, s.Error), ": "))
		}
	}
	return strings.Join(texts, "; ")
}
