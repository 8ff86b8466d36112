package config

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"strings"
)

// Gossip is the port on which hosts and drummers hear of each other. It is on when there
// is a key, and never without: all of it is sealed with the key, with or without TLS.
type Gossip struct {
	// Listen is the address to bind for UDP and TCP, host:port; port 0 takes a free one.
	Listen string `yaml:"listen" doc:"address to bind for UDP and TCP, host:port; port 0 takes a free one"`
	// Advertise is the address that others are told; empty means the bound one.
	Advertise string `yaml:"advertise" doc:"address that others are told; empty: the bound one"`
	// KeyFile names the file of the keys; empty turns gossip off.
	KeyFile string `yaml:"key_file" doc:"file of the keys that all hosts and drummers share, one a line in base64, the first one seals; empty: no gossip"`
}

// Enabled tells whether the process gossips.
func (g Gossip) Enabled() bool { return g.KeyFile != "" }

// Keys reads the file: keys of 16, 24 or 32 bytes, the first one for sealing. Empty lines
// and those that begin with # are skipped.
func (g Gossip) Keys() ([][]byte, error) {
	raw, err := os.ReadFile(g.KeyFile)
	if err != nil {
		return nil, err
	}
	var keys [][]byte
	lines := bufio.NewScanner(bytes.NewReader(raw))
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		key, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(key) != 16 && len(key) != 24 && len(key) != 32 { // the text is a secret, and stays out of the error
			return nil, fmt.Errorf("%s:%d: is not a key of 16, 24 or 32 bytes in base64; make one with: openssl rand -base64 32", g.KeyFile, n)
		}
		keys = append(keys, key)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", g.KeyFile, err)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s: has no key; make one with: openssl rand -base64 32", g.KeyFile)
	}
	return keys, nil
}

// gossip checks the port and the keys, unless gossip is off.
func (p *problems) gossip(g Gossip, others map[string]Listener) {
	if !g.Enabled() {
		return
	}
	p.listener("gossip", Listener{Listen: g.Listen, Advertise: g.Advertise})
	for _, path := range []string{"api", "raft", "http"} {
		if l := others[path].Listen; l != "" && samePort(g.Listen, l) {
			p.add("gossip.listen", "is the port of "+path+".listen", g.Listen, "give each its own port")
		}
	}
	if _, err := g.Keys(); err != nil {
		p.add("gossip.key_file", err.Error(), g.KeyFile, "name a readable file of keys, the same on all hosts and drummers")
	}
}
