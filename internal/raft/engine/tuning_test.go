package engine

import (
	"bytes"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTuningIsLogged(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, Tune(slog.New(slog.NewTextHandler(&b, nil))))
	require.Contains(t, b.String(), "receive_queue=128")
	require.Contains(t, b.String(), "proposals=512")
}

func TestDragonboatsLogger(t *testing.T) {
	var b bytes.Buffer
	l := &packageLogger{log: slog.New(slog.NewTextHandler(&b, nil))}
	l.Infof("noise %d", 1)
	l.Warningf("noise %d", 2)
	l.Debugf("noise %d", 3)
	require.Empty(t, b.String())
	l.Errorf("trouble %d", 4)
	require.Contains(t, b.String(), "level=WARN msg=\"trouble 4\"")
	require.PanicsWithValue(t, "invariant violated: dragonboat: the end 5", func() { l.Panicf("the end %d", 5) })
}
