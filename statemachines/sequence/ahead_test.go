package sequence_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/statemachines/sequence"
)

// TestLookingAheadDecidesNothing: a large family, whose batches are looked at before they are
// applied, answers and ends up as one that gets its commands one by one, whatever else is
// among them.
func TestLookingAheadDecidesNothing(t *testing.T) {
	const size = 5000
	batched, single := sequence.New(statemachines.Group{ID: group}), sequence.New(statemachines.Group{ID: group})
	var commands [][]byte
	for i := range size {
		commands = append(commands, encode(next(&sequencepb.Next{Key: keyOf(i)})))
	}
	commands = append(commands, encode(&sequencepb.Command{Op: &sequencepb.Command_Open{Open: &sequencepb.Open{Nonce: 7}}}))
	client := &sequencepb.Client{Group: group, Number: 1, Nonce: 7}
	for i := range uint64(1000) {
		c := next(&sequencepb.Next{Key: keyOf(int(i * 7919 % size)), Count: 10})
		c.Caller = &sequencepb.Caller{Client: client, Serial: i + 1, Settled: i - i%3}
		commands = append(commands, encode(c))
		if i%10 == 0 {
			drop := &sequencepb.Command{Op: &sequencepb.Command_Drop{Drop: &sequencepb.Drop{Key: keyOf(int(i * 7919 % size))}}}
			commands = append(commands, encode(drop), []byte("no command"), nil, encode(next(&sequencepb.Next{Key: keyOf(size + int(i))})))
		}
	}
	for len(commands) > 0 {
		n := min(150, len(commands))
		apart, together := make([]statemachines.Result, n), make([]statemachines.Result, n)
		batch := make([]statemachines.Command, n)
		for i := range batch {
			batch[i].Data = commands[i]
			single.Apply(batch[i:i+1], apart[i:i+1])
		}
		batched.Apply(batch, together)
		require.Equal(t, apart, together)
		commands = commands[n:]
	}
	require.Equal(t, written(t, single), written(t, batched))
}

func written(t *testing.T, m *sequence.Machine) []byte {
	v := m.Snapshot()
	defer v.Close()
	var out bytes.Buffer
	_, err := v.WriteTo(&out)
	require.NoError(t, err)
	return out.Bytes()
}
