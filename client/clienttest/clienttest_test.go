package clienttest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/drumline/drumline/client/clienttest"
	"github.com/drumline/drumline/client/sequence"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// closes ends a sequence. On a busy machine the second that it has may be too short to give
// numbers back.
func closes(t *testing.T, q *sequence.Sequence) {
	t.Helper()
	if err := q.Close(); !errors.Is(err, context.DeadlineExceeded) {
		require.NoError(t, err)
	}
}

func TestANameIsServedOnFirstUse(t *testing.T) {
	began := time.Now()
	c := clienttest.Start(t)
	t.Logf("ready after %v", time.Since(began))
	orders := c.Client().Sequence("sequence/orders")
	for want := range int64(3) {
		id, err := orders.Next(within(t))
		require.NoError(t, err)
		require.Equal(t, want+1, id)
	}
	closes(t, orders)
	_, err := c.Client().KV("kv/settings").Put(within(t), []byte("a"), []byte("1"))
	require.NoError(t, err)
	t.Logf("served after %v", time.Since(began))
	hosts, err := c.Client().Drummer().ListHosts(within(t), &drummerpb.ListHostsRequest{})
	require.NoError(t, err)
	require.Len(t, hosts.GetHosts(), 1)
	require.True(t, hosts.GetHosts()[0].GetHost().GetInMemory())
}

// Three hosts, of which one may go, whichever leads.
func TestAMajorityOfThreeGoesOn(t *testing.T) {
	began := time.Now()
	c := clienttest.Start(t, clienttest.Hosts(3))
	t.Logf("ready after %v", time.Since(began))
	orders := c.Client().Sequence("sequence/orders")
	next := func(want int64) {
		id, err := orders.Next(within(t))
		require.NoError(t, err)
		require.Equal(t, want, id)
	}
	next(1)
	t.Logf("served after %v", time.Since(began))
	require.Len(t, c.Addresses(), 3)
	c.StopHost(1)
	next(2)
	closes(t, orders)
}

func TestOnDiskAHostComesBack(t *testing.T) {
	c := clienttest.Start(t, clienttest.OnDisk())
	kv := c.Client().KV("kv/settings")
	_, err := kv.Put(within(t), []byte("a"), []byte("1"))
	require.NoError(t, err)
	c.StopHost(0)
	c.StartHost(0)
	e, found, err := kv.Get(within(t), []byte("a"))
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, "1", string(e.Value))
}
