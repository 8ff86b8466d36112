// Package sequences is the commands about sequences: it takes numbers, describes and
// changes sequences, and proves over logs that numbers were issued once.
package sequences

import "github.com/drumline/drumline/tools/drummer-cmd/internal/noun"

// Noun makes the commands.
type Noun struct{ noun.Console }

// Verbs are all commands.
func (n *Noun) Verbs() []noun.Verb {
	return []noun.Verb{
		n.list(), n.describe(), n.next(), n.stream(), n.create(), n.restart(), n.set(), n.drop(), n.resume(), n.verify(),
	}
}
