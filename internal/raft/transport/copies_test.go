package transport

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// processOf is a hello of a process of nh-a; nonces tell processes apart.
func processOf(epoch, nonce uint64) hello {
	h := helloOf("nh-a", "nh-b")
	h.from.epoch, h.from.nonce = epoch, nonce
	return h
}

// answers pings a node and waits for the pong.
func answers(t *testing.T, c net.Conn) {
	t.Helper()
	_, err := c.Write(empty(framePing))
	require.NoError(t, err)
	kind, _, err := (&frameReader{r: c, each: func() {}}).next()
	require.NoError(t, err)
	require.Equal(t, byte(framePong), kind)
}

func TestACopiedDiskIsRefusedWhileTheOtherLives(t *testing.T) {
	b := start(t, options("nh-b"))
	first, a := greetAs(t, b, processOf(2, 42))
	require.Empty(t, a.refused)

	for _, epoch := range []uint64{2, 3, 9} {
		h := processOf(epoch, 43)
		h.from.advertise = "127.0.0.1:10"
		c, a := greetAs(t, b, h)
		require.Equal(t, refusedDuplicate, a.refused, "epoch %d", epoch)
		require.Contains(t, a.text, "host id nh-a is connected from 127.0.0.1:9 already: a copy of its data directory")
		gone(t, c)
		addr, known, _ := b.book.Lookup("nh-a")
		require.Equal(t, uint64(2), known, "a refused newcomer raises no epoch")
		require.Equal(t, "127.0.0.1:9", addr)
		require.Equal(t, uint64(2), b.Stats().Peers["nh-a"].Epoch)
	}
	answers(t, first)

	same := processOf(2, 42) // another connection of the first
	same.stream = snapshot
	_, a = greetAs(t, b, same)
	require.Empty(t, a.refused)

	// News of the copy from elsewhere do not shut the original out.
	require.NoError(t, b.book.Learn("nh-a", "127.0.0.1:10", 3))
	_, a = greetAs(t, b, processOf(2, 42))
	require.Empty(t, a.refused)
	_, a = greetAs(t, b, processOf(3, 43))
	require.Equal(t, refusedDuplicate, a.refused)
	answers(t, first)
}

func TestAHostWhoseConnectionsEndedComesInAtOnce(t *testing.T) {
	o := options("nh-b")
	o.KeepAlive = time.Hour // nothing is let in because of silence
	b := start(t, o)
	first, a := greetAs(t, b, processOf(1, 42))
	require.Empty(t, a.refused)
	var second net.Conn
	require.NoError(t, first.Close())
	until(t, "the end is noticed", func() bool {
		second, a = greetAs(t, b, processOf(2, 43))
		return a.refused == ""
	})
	until(t, "and learned", func() bool {
		_, epoch, _ := b.book.Lookup("nh-a")
		return epoch == 2
	})

	_, a = greetAs(t, b, processOf(1, 42))
	require.Equal(t, refusedDuplicate, a.refused)
	require.NoError(t, second.Close())
	until(t, "the run before may not come back, whoever lives", func() bool {
		_, a = greetAs(t, b, processOf(1, 42))
		return a.refused == refusedEpoch
	})
	_, a = greetAs(t, b, processOf(2, 44))
	require.Empty(t, a.refused, "the same epoch may, once the other has gone")
}

func TestAHalfOpenSessionIsReplacedAfterTwoKeepAlives(t *testing.T) {
	t.Parallel() // it waits
	undisturbed(t, func() bool {
		o := options("nh-b")
		o.KeepAlive = 500 * time.Millisecond
		b := start(t, o)
		since, heard := time.Now(), time.Now()
		first, a := greetAs(t, b, processOf(1, 42))
		require.Empty(t, a.refused)
		for time.Since(since) < 3*o.KeepAlive {
			_, a = greetAs(t, b, processOf(2, 43))
			if time.Since(heard) > o.KeepAlive {
				return false // it was silent
			}
			require.Equal(t, refusedDuplicate, a.refused)
			heard = time.Now()
			answers(t, first) // what pings stays
		}
		require.Greater(t, time.Since(since), b.sessions.bound)

		// No word from now on, and no end of the connection.
		until(t, "the newcomer is let in", func() bool {
			_, a = greetAs(t, b, processOf(2, 43))
			return a.refused == ""
		})
		if time.Since(heard) > b.idle() {
			return false // perhaps because the connection was found to be dead
		}
		require.GreaterOrEqual(t, time.Since(heard), b.sessions.bound)
		gone(t, first)
		require.Equal(t, uint64(2), b.Stats().Peers["nh-a"].Epoch)
		return true
	})
}

// TestACopyIsRefusedByWhoDialedTheOriginal has only connections that the other side
// made, so that its own answers are all that is heard of the original.
func TestACopyIsRefusedByWhoDialedTheOriginal(t *testing.T) {
	t.Parallel() // it waits
	since := time.Now()
	o := options("nh-a")
	o.KeepAlive = 2 * time.Second // so long that no busy machine makes the original seem dead
	a, original := create(t, o), start(t, options("nh-b"))
	meet(a, original)
	a.Ready()
	c := a.connect(t, "nh-b")
	defer c.Close()
	sendUntil(t, a, c, original)
	until(t, "it is announced and connected", func() bool { return a.Stats().Dialed == 2 })

	o = options("nh-b")
	o.BootEpoch = 2
	require.NoError(t, o.Book.Learn("nh-a", a.Addr(), 1))
	copied := start(t, o) // announces itself
	until(t, "the copy is refused, again and again, for longer than silence is borne", func() bool {
		return a.Stats().RefusedHandshakes[refusedDuplicate] > 2 && time.Since(since) > a.sessions.bound+o.KeepAlive
	})
	// Also when it is this side that calls the copy, misled by somebody's news.
	require.NoError(t, a.book.Learn("nh-b", copied.Addr(), 1))
	_, err := a.dial(t.Context(), "nh-b", messages)
	var refused *refusal
	require.ErrorAs(t, err, &refused)
	require.Equal(t, refusedDuplicate, refused.reason)
	require.ErrorContains(t, err, original.Addr())
	_, epoch, _ := a.book.Lookup("nh-b")
	require.Equal(t, uint64(1), epoch)
	require.Equal(t, uint64(1), a.Stats().Peers["nh-b"].Epoch)
	require.Empty(t, copied.batches)
	for len(original.batches) > 0 {
		<-original.batches
	}
	sendUntil(t, a, c, original)
	require.Equal(t, uint64(2), a.Stats().Dialed, "the original's connection never broke")

	// The original ends: who has its disk now is the host, without waiting for a bound.
	back := copied.connect(t, "nh-a")
	defer back.Close()
	require.NoError(t, original.Close())
	sendUntil(t, a, c, copied)
	sendUntil(t, copied, back, a)
	_, epoch, _ = a.book.Lookup("nh-b")
	require.Equal(t, uint64(2), epoch)
}
