package simulate

import (
	"fmt"
	"strconv"
)

// Header is that of the table of rows.
func Header() []string { return []string{"TIME", "CAPACITY", "WANTS", "LEASED", "SAFE", "LEADERLESS"} }

// Cells are the rows as texts.
func (r *Result) Cells() [][]string {
	var out [][]string
	for _, row := range r.Rows {
		cell := func(v float64) string { return strconv.FormatFloat(v, 'f', 1, 64) }
		out = append(out, []string{
			fmt.Sprint(row.Time), cell(row.Capacity), cell(row.Wants), cell(row.Leased), cell(row.Safe), fmt.Sprint(row.Leaderless),
		})
	}
	return out
}
