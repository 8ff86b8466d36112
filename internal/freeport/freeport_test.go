package freeport_test

import (
	"net"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/internal/freeport"
)

func TestPortsAreFreeDifferentAndBelowThoseOfCalls(t *testing.T) {
	addrs, err := freeport.Addresses(50)
	require.NoError(t, err)
	require.Len(t, addrs, 50)
	slices.Sort(addrs)
	require.Len(t, slices.Compact(slices.Clone(addrs)), 50)
	for _, a := range addrs {
		ln, err := net.Listen("tcp", a)
		require.NoError(t, err)
		require.NoError(t, ln.Close())
		port := ln.Addr().(*net.TCPAddr).Port
		require.GreaterOrEqual(t, port, 10240)
		require.Less(t, port, 32000)
	}
}
