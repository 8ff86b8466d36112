package cover

import (
	"fmt"
	"slices"
	"strings"

	"github.com/drumline/drumline/drummer/fleet/words"
)

// Row is an operation at a step, and what struck it there.
type Row struct{ Operation, Step, Fault string }

func (r Row) String() string { return r.Operation + " × " + r.Step + " × " + r.Fault }

// Table counts, for each row, how the operation ended.
type Table map[Row]map[string]int

// Killed is the row of a drummer that is killed behind a step of a change of the drummers.
func Killed(step string) Row { return Row{Drummers, step, killed} }

// Count notes how an operation ended that was struck; only the first word of its result counts.
func (t Table) Count(at Row, result string) {
	word, _, _ := strings.Cut(strings.ReplaceAll(result, ":", " "), " ")
	t.add(at, word, 1)
}

func (t Table) add(at Row, outcome string, n int) {
	if t[at] == nil {
		t[at] = map[string]int{}
	}
	t[at][outcome] += n
}

// Add adds the counts of another run.
func (t Table) Add(o Table) {
	for at, outcomes := range o {
		for outcome, n := range outcomes {
			t.add(at, outcome, n)
		}
	}
}

// Common tells that operations are at this step so often that chance is enough for most faults.
func (r Row) Common() bool {
	switch r.Operation {
	case words.KindReplace, words.KindDrain:
		return true
	case words.KindLaunch:
		return r.Step != Place
	case words.KindBalance:
		return r.Step != HandOver
	default:
		return r.Operation == DrainHost && r.Step == Empty || r.Operation == words.KindDelete && r.Step == Purge
	}
}

// Rows are all that there can be with these faults, in the order of the table.
func Rows(faults []string) (rows []Row) {
	for _, g := range Stages() {
		for _, step := range g.Steps {
			for _, f := range g.faults(faults) {
				rows = append(rows, Row{g.Operation, step, f})
			}
		}
	}
	return rows
}

func (g *Stage) faults(all []string) []string {
	if g.only != "" {
		return []string{g.only}
	}
	return all
}

// Empty lists the rows that no schedule reached.
func (t Table) Empty(faults []string) (list []string) {
	for _, r := range Rows(faults) {
		if len(t[r]) == 0 {
			list = append(list, r.String())
		}
	}
	return list
}

// Strange lists what was counted and cannot be: the stages are not true any more.
func (t Table) Strange(faults []string) (list []string) {
	rows := Rows(faults)
	for at := range t {
		if !slices.Contains(rows, at) {
			list = append(list, at.String())
		}
	}
	slices.Sort(list)
	return list
}

// Outcomes of a row; whatever is none of the others comes last.
var outcomes = []string{"done", "superseded", "cancelled", "unfinished"}

// cell is how those ended that were struck in some rows.
func (t Table) cell(rows ...Row) string {
	counts, all := make([]int, len(outcomes)), 0
	for _, r := range rows {
		for outcome, n := range t[r] {
			at := slices.Index(outcomes, outcome)
			if at < 0 {
				at = len(outcomes) - 1
			}
			counts[at] += n
			all += n
		}
	}
	if all == 0 {
		return "-"
	}
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(counts), " ", "/"), "[]")
}

// Text is a table for each kind of operation, with a line for each fault and a column for
// each step.
func (t Table) Text(faults []string) string { return t.text(faults, true) }

// Summary is its last lines: all faults together.
func (t Table) Summary(faults []string) string { return t.text(faults, false) }

func (t Table) text(faults []string, each bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "operations that were struck, by how they ended: %s\n", strings.Join(outcomes, "/"))
	for _, g := range Stages() {
		fmt.Fprintf(&b, "\n%-16s", g.Operation)
		for _, step := range g.Steps {
			fmt.Fprintf(&b, " %18s", step)
		}
		for _, f := range g.faults(faults) {
			if each {
				t.line(&b, &g, f, []string{f})
			}
		}
		t.line(&b, &g, "all", g.faults(faults))
		fmt.Fprintln(&b)
	}
	return b.String()
}

// line is what some faults did to an operation, step by step.
func (t Table) line(b *strings.Builder, g *Stage, name string, faults []string) {
	fmt.Fprintf(b, "\n%-16s", name)
	for _, step := range g.Steps {
		var rows []Row
		for _, f := range faults {
			rows = append(rows, Row{g.Operation, step, f})
		}
		fmt.Fprintf(b, " %18s", t.cell(rows...))
	}
}
