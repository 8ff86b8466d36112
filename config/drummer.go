package config

// Drummer configures a drummer: a process that keeps the fleet record and, when
// it leads, supervises.
type Drummer struct {
	// Name is for people; two drummers of one deployment must not share it.
	Name string `yaml:"name" doc:"name of this drummer, for people; unique in the deployment"`
	// Deployment is the cluster that this drummer belongs to.
	Deployment string `yaml:"deployment" doc:"name of the cluster; processes of different deployments refuse each other"`
	// DataDir holds the drummer's identity and Raft's data.
	DataDir string `yaml:"data_dir" doc:"directory of identity and Raft data"`
	// WALDir holds Raft's log apart from the rest; empty means DataDir.
	WALDir string `yaml:"wal_dir" doc:"directory of Raft's log, for a faster disk; empty: data_dir"`
	// Index is this drummer's place in Drummers, from 1.
	Index int `yaml:"index" doc:"place of this drummer in drummers, from 1"`
	// Drummers are the gRPC addresses of all drummers, the same list on each; of some that
	// run for a drummer that joins.
	Drummers []string `yaml:"drummers" doc:"gRPC addresses of all drummers, in the same order on each"`
	// Join makes a drummer with an empty DataDir wait until it is added to the others. It
	// means nothing once it has a number. Index may be 0 then.
	Join bool `yaml:"join" doc:"wait to be added to drummers that run (drummer-cmd servers add), instead of forming a group with them"`
	// API is the gRPC port.
	API Listener `yaml:"api"`
	// Raft is the port that drummers speak Raft on.
	Raft Listener `yaml:"raft"`
	// HTTP is the port of metrics and probes; an empty Listen turns it off.
	HTTP Listener `yaml:"http"`
	// Gossip is the port on which hosts and drummers hear of each other.
	Gossip Gossip `yaml:"gossip"`
	// Region that the drummer is in.
	Region string `yaml:"region" doc:"region that this process is in"`
	// TLS secures every port; empty means plain.
	TLS TLS `yaml:"tls"`
	// Log of the process.
	Log Log `yaml:"log"`
	// Tick is Raft's unit of time; 0 is not allowed.
	Tick Duration `yaml:"tick" doc:"Raft's unit of time; equal on all drummers"`
	// ElectionTicks is how long a follower waits for its leader, in ticks.
	ElectionTicks uint64 `yaml:"election_ticks" doc:"ticks without a leader before an election; more than twice heartbeat_ticks"`
	// HeartbeatTicks is the period of a leader's heartbeats, in ticks.
	HeartbeatTicks uint64 `yaml:"heartbeat_ticks" doc:"ticks between a leader's heartbeats"`
	// SnapshotEntries is how many entries the record applies between snapshots, at least.
	SnapshotEntries uint64 `yaml:"snapshot_entries" doc:"entries applied between two snapshots of the record, at least: a large record waits until the log is as large, up to 40 times as many"`
	// Insecure allows ports off loopback without TLS.
	Insecure bool `yaml:"insecure" doc:"allow ports off loopback without TLS"`
}

// DefaultDrummer holds every default; Name, Deployment, DataDir, Drummers and
// Index have none, because a wrong guess would join the wrong cluster.
func DefaultDrummer() Drummer {
	return Drummer{
		API:             Listener{Listen: "127.0.0.1:9121"},
		Raft:            Listener{Listen: "127.0.0.1:9122"},
		HTTP:            Listener{Listen: "127.0.0.1:9123"},
		Gossip:          Gossip{Listen: "127.0.0.1:9124"},
		Log:             Log{Level: "info", Format: "auto"},
		Tick:            defaultDrummerTick,
		ElectionTicks:   defaultElectionTicks,
		HeartbeatTicks:  defaultHeartbeatTicks,
		SnapshotEntries: defaultSnapshotEntries,
	}
}

// Validate returns every problem of the configuration, joined.
func (c Drummer) Validate() error {
	var p problems
	p.process(c.Name, c.Deployment, c.DataDir, c.Drummers)
	if len(c.Drummers) > 0 && len(c.Drummers)%2 == 0 && !c.Join {
		p.add("drummers", "has an even number of addresses", len(c.Drummers), "use 1, 3 or 5: one more brings no more safety")
	}
	if most := max(1, len(c.Drummers)); c.Index < 1 && !c.Join || c.Index < 0 || c.Index > most {
		p.add("index", "names no entry of drummers", c.Index, "use 1 to %d, this drummer's place in the list", most)
	}
	p.ports(c.API, c.Raft, c.HTTP)
	p.gossip(c.Gossip, map[string]Listener{"api": c.API, "raft": c.Raft, "http": c.HTTP})
	p.secure(c.TLS, c.Insecure, c.API, c.Raft, c.HTTP)
	p.log(c.Log)
	p.raft(c.Tick, c.ElectionTicks, c.HeartbeatTicks, c.SnapshotEntries)
	return p.join()
}
