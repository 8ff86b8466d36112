package config

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func validNodeHost() NodeHost {
	c := DefaultNodeHost()
	c.Name, c.Deployment, c.DataDir, c.Drummers = "host-1", "test", "/tmp/x", []string{"127.0.0.1:9121"}
	return c
}

func validDrummer() Drummer {
	c := DefaultDrummer()
	c.Name, c.Deployment, c.DataDir = "drummer-1", "test", "/tmp/x"
	c.Drummers, c.Index = []string{"127.0.0.1:9121", "127.0.0.1:9122", "127.0.0.1:9123"}, 2
	return c
}

func TestValidateNodeHost(t *testing.T) {
	require.NoError(t, validNodeHost().Validate())
	for want, change := range map[string]func(*NodeHost){
		`name: is not set (got ""); give`:        func(c *NodeHost) { c.Name = "" },
		"name: has a character":                  func(c *NodeHost) { c.Name = "a\nb" },
		"name: is too long (got 129)":            func(c *NodeHost) { c.Name = strings.Repeat("x", 129) },
		"deployment: is not set":                 func(c *NodeHost) { c.Deployment = "" },
		"data_dir: is not set":                   func(c *NodeHost) { c.DataDir = "" },
		"drummers: is empty":                     func(c *NodeHost) { c.Drummers = nil },
		`drummers[0]: is not host:port (got "x"`: func(c *NodeHost) { c.Drummers = []string{"x"} },
		"drummers[0]: has port 0":                func(c *NodeHost) { c.Drummers = []string{"x:0"} },
		"drummers[1]: repeats drummers[0]":       func(c *NodeHost) { c.Drummers = []string{"x:1", "x:1"} },
		"api.listen: is not host:port":           func(c *NodeHost) { c.API.Listen = "9221" },
		"api.listen: has no port number":         func(c *NodeHost) { c.API.Listen = "127.0.0.1:http" },
		"raft.listen: is the port of api.listen": func(c *NodeHost) { c.Raft.Listen = c.API.Listen },
		"http.listen: is the port of raft":       func(c *NodeHost) { c.Insecure, c.HTTP.Listen = true, ":9222" },
		"api.listen: is off loopback":            func(c *NodeHost) { c.API.Listen = "10.0.0.1:9221" },
		"http.listen: is off loopback":           func(c *NodeHost) { c.HTTP.Listen = "0.0.0.0:9223" },
		"raft.listen: is off loopback":           func(c *NodeHost) { c.Raft.Listen = "example.org:9223" },
		"api.advertise: is needed":               func(c *NodeHost) { c.Insecure, c.API.Listen = true, ":9221" },
		"api.advertise: names no host":           func(c *NodeHost) { c.API.Advertise = "0.0.0.0:9221" },
		"log.level: is unknown":                  func(c *NodeHost) { c.Log.Level = "loud" },
		"log.format: is unknown":                 func(c *NodeHost) { c.Log.Format = "xml" },
		"tick: is out of range (got 0s)":         func(c *NodeHost) { c.Tick = 0 },
		"heartbeat_ticks: is out of range":       func(c *NodeHost) { c.HeartbeatTicks = 0 },
		"election_ticks: is not more than twice": func(c *NodeHost) { c.HeartbeatTicks = 5 },
		"election_ticks: is out of range":        func(c *NodeHost) { c.ElectionTicks = 1 << 63 },
		"snapshot_entries: is out of range":      func(c *NodeHost) { c.SnapshotEntries = 0 },
		"unload_after: is out of range (got 9s)": func(c *NodeHost) { c.UnloadAfter = 9 * time.Second },
		"unload_after: is out of range (got -1s": func(c *NodeHost) { c.UnloadAfter = -time.Second },
		"0s for never, or 20s and more":          func(c *NodeHost) { c.UnloadAfter, c.Tick = 19*time.Second, 500*time.Millisecond },
		"unload_after: is set without hibernate": func(c *NodeHost) { c.Hibernate, c.UnloadAfter = false, time.Minute },
		"clock_offset: is out of range":          func(c *NodeHost) { c.ClockOffset = -2 * time.Hour },
		"boot_grace: is out of range":            func(c *NodeHost) { c.BootGrace = -time.Second },
		`storage: is unknown (got "tape")`:       func(c *NodeHost) { c.Storage = "tape" },
		"wal_dir: is set with storage: memory":   func(c *NodeHost) { c.Storage, c.WALDir = StorageMemory, "/tmp/wal" },
		"labels.a=b: is not a label":             func(c *NodeHost) { c.Labels = map[string]string{"a=b": "c"} },
		"tls.key: is not set":                    func(c *NodeHost) { c.TLS = TLS{CA: "a", Cert: "b"} },
		"tls.ca: is not set":                     func(c *NodeHost) { c.TLS = TLS{Cert: "b"} },
		"tls: read certificate and key: open":    func(c *NodeHost) { c.TLS = TLS{CA: "a", Cert: "/no/b", Key: "/no/c"} },
		"tls.server_name: is set without":        func(c *NodeHost) { c.TLS = TLS{ServerName: "x"} },
	} {
		c := validNodeHost()
		change(&c)
		require.ErrorContains(t, c.Validate(), want)
	}
}

func TestValidateDrummer(t *testing.T) {
	require.NoError(t, validDrummer().Validate())
	for want, change := range map[string]func(*Drummer){
		"index: names no entry of drummers (got 0); use 1 to 3": func(c *Drummer) { c.Index = 0 },
		"index: names no entry of drummers (got 4)":             func(c *Drummer) { c.Index = 4 },
		"drummers: has an even number of addresses (got 2)":     func(c *Drummer) { c.Drummers = c.Drummers[:2] },
		"drummers: is empty":                                    func(c *Drummer) { c.Drummers = nil },
		"tick: is out of range":                                 func(c *Drummer) { c.Tick = time.Hour },
	} {
		c := validDrummer()
		change(&c)
		require.ErrorContains(t, c.Validate(), want)
	}
}

func TestWhatIsAllowed(t *testing.T) {
	for name, change := range map[string]func(*NodeHost){
		"free ports": func(c *NodeHost) {
			c.API.Listen, c.Raft.Listen, c.HTTP.Listen = "127.0.0.1:0", "127.0.0.1:0", "[::1]:0"
		},
		"unloading":               func(c *NodeHost) { c.UnloadAfter = 10 * time.Second },
		"no hibernation":          func(c *NodeHost) { c.Hibernate = false },
		"no http port":            func(c *NodeHost) { c.HTTP.Listen = "" },
		"off loopback, insecure":  func(c *NodeHost) { c.Insecure, c.API = true, Listener{":9221", "host:9221"} },
		"same port, other hosts":  func(c *NodeHost) { c.Insecure, c.API.Listen, c.Raft.Listen = true, "10.0.0.1:9", "10.0.0.2:9" },
		"http on every interface": func(c *NodeHost) { c.Insecure, c.HTTP.Listen = true, ":9223" },
	} {
		c := validNodeHost()
		change(&c)
		require.NoError(t, c.Validate(), name)
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	var c NodeHost
	err := c.Validate()
	for _, path := range []string{"name:", "deployment:", "data_dir:", "drummers:", "api.listen:", "raft.listen:", "log.level:", "tick:", "heartbeat_ticks:", "election_ticks:", "snapshot_entries:"} {
		require.ErrorContains(t, err, path)
	}
}
