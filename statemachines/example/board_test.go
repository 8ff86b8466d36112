package example_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/statemachines/example"
	"github.com/drumline/drumline/statemachines/smtest"
)

var names = []string{"ann", "bob", "cy", "", "a b", "Ünï"}

func TestConformance(t *testing.T) {
	smtest.Run(t, smtest.Suite{
		App:     example.App(),
		Command: func(r *rand.Rand) []byte { return fmt.Appendf(nil, "%s %d", names[r.IntN(len(names))], r.IntN(50)) },
		Query:   func(r *rand.Rand) []byte { return []byte(names[r.IntN(len(names))]) },
		Golden:  "testdata/golden",
	})
}

func TestBoard(t *testing.T) {
	b := example.App().New(statemachines.Group{ID: 1000, Name: "board/test"})
	results := make([]statemachines.Result, 4)
	b.Apply([]statemachines.Command{
		{Data: []byte("bob 5")}, {Data: []byte("ann 7")}, {Data: []byte("bob 3")}, {Data: []byte("nonsense")},
	}, results)
	require.EqualValues(t, 8, results[2].Value)
	require.Contains(t, string(results[3].Data), "want: NAME POINTS")
	all, err := b.Query(nil)
	require.NoError(t, err)
	require.Equal(t, "ann 7\nbob 8\n", string(all))
	one, err := b.Query([]byte("bob"))
	require.NoError(t, err)
	require.Equal(t, "bob 8\n", string(one))
}
