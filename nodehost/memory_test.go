package nodehost

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/config"
	"github.com/drumline/drumline/internal/hostdir"
)

// journal is a log that tests read while hosts write it.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// A host in memory serves as any other, says loudly what it is, is another host after
// each start, and touches nothing of a host on disk.
func TestStorageInMemory(t *testing.T) {
	d := newDrummer(t)
	a := newHost(t, "a", d.addr)
	require.Equal(t, config.StorageDisk, a.status().Storage)
	require.NoError(t, a.halt())
	a.cfg.Storage = config.StorageMemory
	err := RunWith(t.Context(), Options{Config: a.cfg, Apps: a.apps})
	require.ErrorIs(t, err, hostdir.ErrStorage)

	a.cfg.DataDir = t.TempDir()
	a.start()
	first := a.id()
	d.launch(group, groupName, 1, a)
	c := newCaller(t)
	require.NoError(t, c.put(a, groupName, "kept for now"))
	got, err := c.get(a, groupName)
	require.NoError(t, err)
	require.Equal(t, "kept for now", got)
	s := a.status()
	require.Equal(t, config.StorageMemory, s.Storage)
	require.Contains(t, s.facts()[3].Value, "MEMORY")
	require.True(t, a.host.self().GetInMemory())
	a.restart()
	require.NotEqual(t, first, a.id())
	require.Empty(t, a.status().Replicas)
	require.NoError(t, a.halt())

	log := &journal{}
	over, end := context.WithCancel(t.Context())
	end()
	a.cfg.ClockOffset = -10 * time.Second
	require.NoError(t, RunWith(over, Options{Config: a.cfg, Apps: a.apps, Log: slog.New(slog.NewTextHandler(log, nil))}))
	require.Contains(t, log.String(), "level=WARN msg=\"STORAGE IS IN MEMORY")
	require.Contains(t, log.String(), "level=WARN msg=\"THE CLOCK IS SET OFF")
}
