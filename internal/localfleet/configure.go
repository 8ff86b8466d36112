package localfleet

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/goccy/go-yaml"
)

// Deployment is the deployment id of every local fleet.
const Deployment = "playground"

// tick is short: on one machine a heartbeat costs microseconds, and an election
// should be over before a person notices.
const tick = "50ms"

// configure writes the configuration file of every process.
func (f *Fleet) configure() error {
	var errs []error
	drummers := []string{}
	for _, p := range f.procs {
		if p.Kind == KindDrummer && len(drummers) < f.opts.Drummers { // the rest came later
			drummers = append(drummers, p.API)
		}
	}
	key := filepath.Join(f.opts.Dir, "gossip.key")
	if f.opts.Gossip {
		errs = append(errs, makeKey(key))
	}
	index := 0
	for _, p := range f.procs {
		doc := map[string]any{
			"name":       p.Name,
			"deployment": Deployment,
			"data_dir":   filepath.Join(f.opts.Dir, p.Name, "data"),
			"drummers":   drummers,
			"region":     p.Region,
			"tick":       tick,
			"api":        map[string]any{"listen": p.API},
			"raft":       map[string]any{"listen": p.Raft},
			"http":       map[string]any{"listen": p.HTTP},
			"log":        map[string]any{"format": "text"}, // people read it
		}
		if p.Gossip != "" {
			doc["gossip"] = map[string]any{"listen": p.Gossip, "key_file": key}
		}
		if f.opts.Secure {
			files, err := f.certificate(p.Name)
			errs = append(errs, err)
			doc["tls"] = files
		}
		if f.opts.Address != nil {
			doc["insecure"] = true // it is a network of this machine
		}
		if p.Kind == KindDrummer {
			doc["join"] = p.Joins
			if index++; index <= f.opts.Drummers {
				doc["index"] = index
			}
		}
		errs = append(errs, writeConfig(filepath.Join(f.opts.Dir, p.Name), doc))
	}
	return errors.Join(errs...)
}

// authority is that of a Secure fleet.
func (f *Fleet) authority() (*Authority, error) {
	dir := filepath.Join(f.opts.Dir, "certificates")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the authority: %w", err)
	}
	return OpenAuthority(dir)
}

// certificate is what the configuration of a process of a Secure fleet says of TLS.
func (f *Fleet) certificate(name string) (map[string]any, error) {
	a, err := f.authority()
	if err != nil {
		return nil, err
	}
	t, err := a.Issue(name, true)
	return map[string]any{"ca": t.CA, "cert": t.Cert, "key": t.Key}, err
}

// makeKey makes the key that the processes share, unless it is there.
func makeKey(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return fmt.Errorf("make the key for gossip: %w", err)
	}
	if err := os.WriteFile(path, []byte(base64.StdEncoding.EncodeToString(key)+"\n"), 0o600); err != nil {
		return fmt.Errorf("make the key for gossip: %w", err)
	}
	return nil
}

func writeConfig(dir string, doc map[string]any) error {
	raw, err := yaml.Marshal(doc)
	if err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.yaml"), raw, 0o600); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	return nil
}

func (f *Fleet) command(p Process) command {
	bin := f.opts.NodeHostBin
	if p.Kind == KindDrummer {
		bin = filepath.Join(f.opts.Bin, "drummer")
	}
	dir := filepath.Join(f.opts.Dir, p.Name)
	return command{name: p.Name, bin: bin, dir: dir, args: []string{"--config", filepath.Join(dir, "config.yaml")}, around: f.opts.Around}
}
