package transport

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Small frames are written by who sends them, large ones by the peer's goroutine: neither
// may overtake the other.
func TestSmallFramesDoNotOvertakeLargeOnes(t *testing.T) {
	a, b := start(t, options("nh-a")), start(t, options("nh-b"))
	meet(a, b)
	c := a.connect(t, "nh-b")
	defer c.Close()
	sendUntil(t, a, c, b)
	const first, count, every = 1000000, 2000, 20
	done := make(chan error, 1)
	go func() {
		for n := uint64(first); n < first+count; n++ {
			batch := batchOf("nh-a", n)
			if n%every == 0 {
				batch.Requests[0].Entries[0].Cmd = make([]byte, 2*writeBuffer)
			}
			if err := c.SendMessageBatch(batch); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for next := uint64(first); next < first+count; {
		got := receive(t, b.batches).Requests[0].Term
		if got < first {
			continue // of sendUntil
		}
		require.Equal(t, next, got)
		next++
	}
	require.NoError(t, <-done)
}
