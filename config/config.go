// Package config is the typed configuration of every Drumline process and the
// reader of the launch file.
//
// A value comes from the first of these that sets it: a flag (--api-listen), an
// environment variable (NODEHOST_API_LISTEN, DRUMMER_API_LISTEN), the YAML file
// named by --config or NODEHOST_CONFIG, the default. Every key can be set in all
// of them; docs/configuration.md lists the keys.
//
// Reading is strict: an unknown key, a duplicate or a value of the wrong type is
// an error that names file, line, column and key, and all of them are reported at
// once. Validate then checks ranges and relations.
//
//	cfg, err := config.LoadNodeHost(os.Args[1:], os.Environ())
//
// Nothing here is global, and nothing is read from the working directory unless a
// path says so.
package config

import "time"

// Duration is written as "30s", "1m30s" or "100ms".
type Duration = time.Duration

// Listener is one port of a server.
type Listener struct {
	// Listen is the address to bind, host:port; port 0 takes a free one.
	Listen string `yaml:"listen" doc:"address to bind, host:port; port 0 takes a free one"`
	// Advertise is the address that others are told; empty means the bound one.
	Advertise string `yaml:"advertise" doc:"address that others are told; empty: the bound one"`
}

// Log says what is logged and how.
type Log struct {
	// Level is debug, info, warn or error.
	Level string `yaml:"level" doc:"debug, info, warn or error"`
	// Format is auto (text on a terminal, else json), text or json.
	Format string `yaml:"format" doc:"auto (text on a terminal, else json), text or json"`
}

// Raft engine defaults. Drummers tick faster: their group is small, and the
// cluster's reaction to anything waits for its leader.
const (
	defaultNodeHostTick    = 100 * time.Millisecond
	defaultDrummerTick     = 50 * time.Millisecond
	defaultElectionTicks   = 10
	defaultHeartbeatTicks  = 1
	defaultSnapshotEntries = 5000
	defaultBootGrace       = 3 * time.Second
	defaultHibernate       = true
)
