package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func keyFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

const goodKey = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=" // 0123...01

func TestKeysOfGossip(t *testing.T) {
	keys, err := Gossip{KeyFile: keyFile(t, "# old and new\n\n"+goodKey+"\n  MDEyMzQ1Njc4OTAxMjM0NQ==\n")}.Keys()
	require.NoError(t, err)
	require.Equal(t, [][]byte{[]byte("01234567890123456789012345678901"), []byte("0123456789012345")}, keys)
	for name, text := range map[string]string{"empty": "# none", "not base64": "secret!", "short": "c2hvcnQ=", "one long line": strings.Repeat("x", 1<<20)} {
		_, err := Gossip{KeyFile: keyFile(t, text)}.Keys()
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), "secret!", "a key never is in an error")
	}
}

func TestGossipIsOffWithoutAKeyAndCheckedWithOne(t *testing.T) {
	require.NoError(t, validNodeHost().Validate())
	require.False(t, validNodeHost().Gossip.Enabled())
	good := keyFile(t, goodKey)
	for want, change := range map[string]func(*Gossip){
		"":                                   func(*Gossip) {},
		"gossip.key_file: ":                  func(g *Gossip) { g.KeyFile = "/nowhere/key" },
		"gossip.listen: is not host:port":    func(g *Gossip) { g.Listen = "" },
		"gossip.listen: is the port of raft": func(g *Gossip) { g.Listen = "127.0.0.1:9222" },
		"gossip.advertise: is needed":        func(g *Gossip) { g.Listen = ":9224" },
		"gossip.advertise: names no host":    func(g *Gossip) { g.Advertise = "0.0.0.0:9224" },
	} {
		c := validNodeHost()
		c.Gossip.KeyFile = good
		change(&c.Gossip)
		if want == "" {
			require.NoError(t, c.Validate())
			continue
		}
		require.ErrorContains(t, c.Validate(), want)
	}
	d := validDrummer()
	d.Gossip.KeyFile = "/nowhere/key"
	require.ErrorContains(t, d.Validate(), "gossip.key_file")
}
