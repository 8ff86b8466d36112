package tally

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/statemachines"
)

func TestItSurvivesItsSnapshot(t *testing.T) {
	m := &Machine{}
	results := make([]statemachines.Result, 2)
	m.Apply(make([]statemachines.Command, 2), results)
	require.EqualValues(t, 2, results[1].Value)
	var b bytes.Buffer
	_, err := m.Snapshot().WriteTo(&b)
	require.NoError(t, err)
	n := &Machine{}
	require.NoError(t, n.Restore(&b))
	require.Equal(t, m.n, n.n)
}
