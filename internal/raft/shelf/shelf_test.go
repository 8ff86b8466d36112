package shelf

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/drumline/drumline/internal/ids"
)

// A Shelf says what a set of pairs would.
func TestShelf(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type pair struct {
			g  ids.Group
			id ids.Replica
		}
		var s Shelf
		want := map[pair]bool{}
		group, replica := rapid.Uint64Range(1, 3), rapid.Uint64Range(1, 4)
		t.Repeat(map[string]func(*rapid.T){
			"note": func(t *rapid.T) {
				p := pair{ids.Group(group.Draw(t, "group")), ids.Replica(replica.Draw(t, "replica"))}
				has := rapid.Bool().Draw(t, "has")
				s.Note(p.g, p.id, has)
				delete(want, p)
				if has {
					want[p] = true
				}
			},
			"": func(t *rapid.T) {
				for g := ids.Group(1); g <= 3; g++ {
					var all []ids.Replica
					for id := ids.Replica(1); id <= 4; id++ {
						require.Equal(t, want[pair{g, id}], s.Has(g, id))
						if want[pair{g, id}] {
							all = append(all, id)
						}
					}
					require.ElementsMatch(t, all, s.Of(g))
				}
			},
		})
	})
}
