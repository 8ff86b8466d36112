package appconfig

import (
	"strconv"
	"strings"
	"unicode"
)

// Legible is a text for a person at a terminal: lines stay lines, and what would play tricks
// there is escaped.
func Legible(text []byte) []byte {
	var out strings.Builder
	for _, r := range strings.ReplaceAll(string(text), "\r\n", "\n") {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			out.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRune(r)
		out.WriteString(quoted[1 : len(quoted)-1])
	}
	if out.Len() > 0 && !strings.HasSuffix(out.String(), "\n") {
		out.WriteByte('\n')
	}
	return []byte(out.String())
}
