package report

import (
	"fmt"
	"os"
	"strings"
)

// Update replaces what stands between a table's markers in a file by the table and the
// command of bench that made it.
func Update(path, name, command, table string) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("update the tables: %w", err)
	}
	updated, err := Splice(string(raw), name, command, table)
	if err != nil {
		return fmt.Errorf("update %s: %w", path, err)
	}
	if err := os.WriteFile(path, []byte(updated), 0o644); err != nil {
		return fmt.Errorf("update the tables: %w", err)
	}
	return nil
}

// Splice is Update for a page in memory.
func Splice(page, name, command, table string) (string, error) {
	begin, end := "<!-- bench:"+name+" -->\n", "<!-- /bench:"+name+" -->"
	before, rest, found := strings.Cut(page, begin)
	_, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		return "", fmt.Errorf("no table %s: want the lines %q and %q", name, strings.TrimSpace(begin), end)
	}
	return fmt.Sprintf("%s%s`bin/bench %s`\n\n%s\n%s%s", before, begin, command, strings.TrimSpace(table)+"\n", end, after), nil
}
