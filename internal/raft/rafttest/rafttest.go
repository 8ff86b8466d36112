// Package rafttest opens hosts of real Raft in memory, for tests of what is built on them.
package rafttest

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft"
	"github.com/drumline/drumline/internal/raft/transport"
	"github.com/drumline/drumline/internal/raft/transport/membook"
	"github.com/drumline/drumline/statemachines"
)

// Open opens a host that listens on loopback, keeps its log in memory and finds the others
// in the book. Its ticks are short, but long enough that a busy machine has few elections.
// The caller closes it.
func Open(t testing.TB, book *membook.Book, id ids.Host, apps ...statemachines.App) *raft.Host {
	t.Helper()
	epoch, quiet := book.Next(id), slog.New(slog.DiscardHandler)
	tr, err := transport.New(transport.Options{Host: id, BootEpoch: epoch, Deployment: "test", Listen: "127.0.0.1:0", Book: book, Log: quiet})
	require.NoError(t, err)
	require.NoError(t, book.Learn(id, tr.Addr(), epoch))
	known, err := statemachines.NewRegistry(apps...)
	require.NoError(t, err)
	h, err := raft.Open(raft.Options{
		Host: id, Deployment: "test", Dir: t.TempDir(), Memory: true, Transport: tr, Apps: known, Tick: 20 * time.Millisecond, Log: quiet,
	})
	require.NoError(t, err)
	return h
}
