// Package audit reads logs of issued numbers and proves that they are disjoint. It asks
// no cluster: what clients wrote down is all it believes.
//
// A directory has one file for each client. A line is a number, "Got: NUMBER" as
// `sequence stream` and rr_seq's example client write it, or a range in JSON:
// {"first": 1, "step": 1, "count": 1000}; a missing step is 1. Empty lines are skipped.
package audit

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// maxFindings is how many findings are told in words.
const maxFindings = 20

// mostOfRange bounds a range that does not go by ones: it is taken apart.
const mostOfRange = 10_000_000

// Report is what was found.
type Report struct {
	Files   int
	Numbers uint64
	// Least and Greatest number, and how many between them nobody got.
	Least, Greatest int64
	Missing         uint64
	// Duplicates counts numbers that were issued again, Disordered those that a file has
	// not in its own direction.
	Duplicates, Disordered uint64
	Findings               []string
}

// run is numbers that follow each other by ones, with where the first was written.
type run struct {
	first, last int64
	file, line  int
}

// auditor reads files one after the other.
type auditor struct {
	report Report
	names  []string
	runs   []run
	// direction of the file at hand: 0 until it is known, then 1 or -1; last is its
	// newest number.
	direction int
	last      int64
	any       bool
}

// Read reads all files of a directory.
func Read(dir fs.FS) (Report, error) {
	a := &auditor{}
	err := fs.WalkDir(dir, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return a.file(dir, path)
	})
	if err != nil {
		return Report{}, err
	}
	a.judge()
	return a.report, nil
}

func (a *auditor) file(dir fs.FS, path string) error {
	f, err := dir.Open(path)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // it was only read
	a.names = append(a.names, path)
	a.report.Files++
	a.direction, a.any = 0, false
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		if err := a.line(strings.TrimSpace(lines.Text()), n); err != nil {
			return fmt.Errorf("%s:%d: %w", path, n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// rangeLine is a range in JSON.
type rangeLine struct {
	First int64  `json:"first"`
	Step  *int64 `json:"step"`
	Count uint64 `json:"count"`
}

func (a *auditor) line(text string, n int) error {
	text = strings.TrimSpace(strings.TrimPrefix(text, "Got:"))
	switch {
	case text == "":
		return nil
	case strings.HasPrefix(text, "{"):
		r := rangeLine{}
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			return fmt.Errorf("no range: %w", err)
		}
		return a.span(r, n)
	}
	v, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return fmt.Errorf("%q is no number, and no range", text)
	}
	a.add(run{v, v, len(a.names) - 1, n})
	return nil
}

// span adds a range.
func (a *auditor) span(r rangeLine, n int) error {
	step := int64(1)
	if r.Step != nil {
		step = *r.Step
	}
	last := r.First + int64(r.Count-1)*step
	switch {
	case r.Count == 0 || step == 0:
		return fmt.Errorf("a range without count, or with step 0")
	case r.Count > 1<<62 || (last > r.First) != (step > 0 && r.Count > 1):
		return fmt.Errorf("a range that does not end")
	case step == 1:
		a.add(run{r.First, last, len(a.names) - 1, n})
		return nil
	case r.Count > mostOfRange:
		return fmt.Errorf("a range of step %d with more than %d numbers", step, mostOfRange)
	}
	for i := range r.Count {
		v := r.First + int64(i)*step
		a.add(run{v, v, len(a.names) - 1, n})
	}
	return nil
}

// add takes a run, and sees that the file goes in one direction.
func (a *auditor) add(r run) {
	if a.any {
		if a.direction == 0 {
			a.direction = cmp.Compare(r.first, a.last)
		}
		if c := cmp.Compare(r.first, a.last); c != a.direction || c == 0 {
			a.report.Disordered++
			a.find("%s:%d: %d comes after %d", a.names[r.file], r.line, r.first, a.last)
		}
	}
	a.last, a.any = r.last, true
	if n := len(a.runs); n > 0 && a.runs[n-1].file == r.file && r.first > a.runs[n-1].last && r.first-1 == a.runs[n-1].last {
		a.runs[n-1].last = r.last
		return
	}
	a.runs = append(a.runs, r)
}

func (a *auditor) find(format string, args ...any) {
	if len(a.report.Findings) < maxFindings {
		a.report.Findings = append(a.report.Findings, fmt.Sprintf(format, args...))
	}
}

// judge walks the runs of all files from the least number up.
func (a *auditor) judge() {
	if len(a.runs) == 0 {
		return
	}
	slices.SortStableFunc(a.runs, func(x, y run) int { return cmp.Or(cmp.Compare(x.first, y.first), cmp.Compare(x.last, y.last)) })
	r, top := &a.report, a.runs[0]
	r.Least, r.Greatest = top.first, top.last
	for i, x := range a.runs {
		r.Numbers += uint64(x.last) - uint64(x.first) + 1
		if i == 0 {
			continue
		}
		if x.first <= top.last {
			again := min(x.last, top.last)
			r.Duplicates += uint64(again) - uint64(x.first) + 1
			a.find("%d to %d: in the run from %s:%d and again in that from %s:%d", x.first, again,
				a.names[top.file], top.line, a.names[x.file], x.line)
		} else {
			r.Missing += uint64(x.first) - uint64(top.last) - 1
		}
		if x.last > top.last {
			top = x
		}
	}
	r.Greatest = top.last
}
