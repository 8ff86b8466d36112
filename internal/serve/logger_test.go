package serve

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/config"
)

func TestLogger(t *testing.T) {
	for _, format := range []string{"json", "auto", ""} { // a buffer is no terminal
		var b bytes.Buffer
		log, err := NewLogger(&b, config.Log{Level: "warn", Format: format})
		require.NoError(t, err)
		log.Info("too quiet")
		log.Warn("leader lost", "group", 7)
		var line map[string]any
		require.NoError(t, json.Unmarshal(b.Bytes(), &line), b.String())
		require.Equal(t, "leader lost", line["msg"])
		require.InDelta(t, 7, line["group"], 0)
	}
	var b bytes.Buffer
	log, err := NewLogger(&b, config.Log{Level: "debug", Format: "text"})
	require.NoError(t, err)
	log.Debug("hello", "group", 7)
	require.Contains(t, b.String(), "DBG hello group=7\n")
	require.NotContains(t, b.String(), "\x1b", "colour on what is no terminal")
}

func TestLoggerRefusesWhatItDoesNotKnow(t *testing.T) {
	_, err := NewLogger(&bytes.Buffer{}, config.Log{Level: "loud", Format: "json"})
	require.ErrorContains(t, err, "log.level")
	_, err = NewLogger(&bytes.Buffer{}, config.Log{Level: "info", Format: "xml"})
	require.ErrorContains(t, err, "log.format")
}
