package config

// NodeHost configures a nodehost: a process that runs replicas.
type NodeHost struct {
	// Name is for people; two hosts of one deployment must not share it.
	Name string `yaml:"name" doc:"name of this host, for people; unique in the deployment"`
	// Deployment is the cluster that this host belongs to; others refuse it elsewhere.
	Deployment string `yaml:"deployment" doc:"name of the cluster; processes of different deployments refuse each other"`
	// DataDir holds the host's identity, its manifest and Raft's data.
	DataDir string `yaml:"data_dir" doc:"directory of identity, manifest and Raft data"`
	// WALDir holds Raft's log apart from the rest; empty means DataDir.
	WALDir string `yaml:"wal_dir" doc:"directory of Raft's log, for a faster disk; empty: data_dir"`
	// Storage is where replicas keep their data: StorageDisk, or StorageMemory.
	Storage string `yaml:"storage" doc:"where replicas keep their data: disk, or memory, which ends with the process: for tests only"`
	// Drummers are the gRPC addresses of the drummers.
	Drummers []string `yaml:"drummers" doc:"gRPC addresses of all drummers"`
	// API is the gRPC port.
	API Listener `yaml:"api"`
	// Raft is the port that hosts speak Raft on.
	Raft Listener `yaml:"raft"`
	// HTTP is the port of metrics and probes; an empty Listen turns it off.
	HTTP Listener `yaml:"http"`
	// Gossip is the port on which hosts and drummers hear of each other.
	Gossip Gossip `yaml:"gossip"`
	// Region that the host is in.
	Region string `yaml:"region" doc:"region that this process is in; placement rules name it"`
	// Zone inside the region.
	Zone string `yaml:"zone" doc:"zone inside the region"`
	// Labels are any further facts about the host.
	Labels map[string]string `yaml:"labels" doc:"further facts about this host, key: value"`
	// TLS secures every port; empty means plain.
	TLS TLS `yaml:"tls"`
	// Log of the process.
	Log Log `yaml:"log"`
	// Tick is Raft's unit of time; 0 is not allowed.
	Tick Duration `yaml:"tick" doc:"Raft's unit of time; equal on all hosts"`
	// ElectionTicks is how long a follower waits for its leader, in ticks.
	ElectionTicks uint64 `yaml:"election_ticks" doc:"ticks without a leader before an election; more than twice heartbeat_ticks"`
	// HeartbeatTicks is the period of a leader's heartbeats, in ticks.
	HeartbeatTicks uint64 `yaml:"heartbeat_ticks" doc:"ticks between a leader's heartbeats"`
	// SnapshotEntries is how many entries a group applies between snapshots, at least.
	SnapshotEntries uint64 `yaml:"snapshot_entries" doc:"entries applied between two snapshots of a group, at least: a large state waits until the log is as large, up to 40 times as many"`
	// Hibernate lets idle groups stop heart-beating; equal on all hosts.
	Hibernate bool `yaml:"hibernate" doc:"let idle groups stop heart-beating until the next command; equal on all hosts"`
	// UnloadAfter is how long a group sleeps before it is unloaded; 0 means never.
	UnloadAfter Duration `yaml:"unload_after" doc:"unload a group that slept for so long until the next command, 10s or more; 0s: never; needs hibernate"`
	// BootGrace is how long a starting host asks who it is before it starts alone.
	BootGrace Duration `yaml:"boot_grace" doc:"how long a starting host asks drummers and peers before it starts its replicas alone"`
	// ClockOffset is added to what the host takes for the time of day; only tests have one.
	ClockOffset Duration `yaml:"clock_offset" doc:"take the time of day to be so much later, or earlier if negative: for tests of wrong clocks only"`
	// Insecure allows ports off loopback without TLS.
	Insecure bool `yaml:"insecure" doc:"allow ports off loopback without TLS"`
}

// Values of Storage.
const (
	// StorageDisk syncs everything before it is acknowledged.
	StorageDisk = "disk"
	// StorageMemory forgets everything with the process: each start is a new host.
	StorageMemory = "memory"
)

// DefaultNodeHost holds every default; Name, Deployment, DataDir and Drummers
// have none, because a wrong guess would join the wrong cluster or lose its data.
func DefaultNodeHost() NodeHost {
	return NodeHost{
		Storage:         StorageDisk,
		API:             Listener{Listen: "127.0.0.1:9221"},
		Raft:            Listener{Listen: "127.0.0.1:9222"},
		HTTP:            Listener{Listen: "127.0.0.1:9223"},
		Gossip:          Gossip{Listen: "127.0.0.1:9224"},
		Log:             Log{Level: "info", Format: "auto"},
		Tick:            defaultNodeHostTick,
		ElectionTicks:   defaultElectionTicks,
		HeartbeatTicks:  defaultHeartbeatTicks,
		SnapshotEntries: defaultSnapshotEntries,
		Hibernate:       defaultHibernate,
		BootGrace:       defaultBootGrace,
	}
}

// Validate returns every problem of the configuration, joined.
func (c NodeHost) Validate() error {
	var p problems
	p.process(c.Name, c.Deployment, c.DataDir, c.Drummers)
	p.ports(c.API, c.Raft, c.HTTP)
	p.gossip(c.Gossip, map[string]Listener{"api": c.API, "raft": c.Raft, "http": c.HTTP})
	p.secure(c.TLS, c.Insecure, c.API, c.Raft, c.HTTP)
	p.log(c.Log)
	p.raft(c.Tick, c.ElectionTicks, c.HeartbeatTicks, c.SnapshotEntries)
	p.sleep(c.Hibernate, c.UnloadAfter, Duration(min(c.ElectionTicks, maxTicks))*c.Tick)
	p.labels(c.Labels)
	p.storage(c.Storage, c.WALDir)
	if c.BootGrace < 0 || c.BootGrace > maxBootGrace {
		p.add("boot_grace", "is out of range", c.BootGrace, "use 0s to %s", maxBootGrace)
	}
	if c.ClockOffset.Abs() > maxClockOffset {
		p.add("clock_offset", "is out of range", c.ClockOffset, "use -%s to %s, or leave it out", maxClockOffset, maxClockOffset)
	}
	return p.join()
}
