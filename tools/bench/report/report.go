// Package report prints what was measured: tables that are markdown and readable as they are.
package report

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/drumline/drumline/tools/bench/measure"
)

// Table is one table.
type Table struct {
	out    io.Writer
	header []string
	lines  []string
}

// New begins a table, to be printed to out.
func New(out io.Writer, header ...string) *Table { return &Table{out: out, header: header} }

// Row adds a row; remark, which says what makes it doubtful, comes after it.
func (t *Table) Row(remark string, cells ...string) {
	line := "| " + strings.Join(cells, "\t| ") + "\t|"
	if remark != "" {
		line += " " + remark
	}
	t.lines = append(t.lines, line)
}

// Print prints it.
func (t *Table) Print() error {
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

// None is the cell of what was not measured.
const None = "–"

// Whole is the cell of a count.
func Whole(n int) string { return strconv.Itoa(n) }

// Ratio is the cell of a by b.
func Ratio(a, b float64) string {
	if b == 0 {
		return None
	}
	return fmt.Sprintf("%.2f", a/b)
}

// Positive prints a number unless there is none.
func Positive(format string, v float64) string {
	if v == 0 {
		return None
	}
	return fmt.Sprintf(format, v)
}

// Failures says after a row what makes it doubtful.
func Failures(samples ...measure.Sample) string {
	var texts []string
	for _, s := range samples {
		if s.Failed > 0 {
			texts = append(texts, strings.TrimSuffix(fmt.Sprintf("%s: %d failed: %s", s.Name(), s.Failed, s.Error), ": "))
		}
	}
	return strings.Join(texts, "; ")
}
