// Package shape is what drummer-cmd prints with -o json and -o yaml: a contract that
// docs/cli-json.md describes. Fields are added, never renamed or removed.
package shape

import (
	"cmp"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
)

// Group is one group of `groups list`.
type Group struct {
	Name     string    `json:"name"`
	Region   string    `json:"region"`
	ID       uint64    `json:"id"`
	App      string    `json:"app"`
	State    string    `json:"state"`
	Want     uint32    `json:"want"`
	Replicas []Replica `json:"replicas"`
}

// Replica is one replica of a Group.
type Replica struct {
	ID     uint64 `json:"id"`
	Host   string `json:"host"`
	Role   string `json:"role"`
	Leader bool   `json:"leader"`
	State  string `json:"state"`
}

// OfGroup translates a group.
func OfGroup(g *drummerpb.GroupInfo) Group {
	s := Group{Name: g.GetName(), Region: g.GetRegion(), ID: g.GetId(), App: g.GetApp(), State: g.GetState(), Want: g.GetWant(), Replicas: []Replica{}}
	for _, r := range g.GetReplicas() {
		s.Replicas = append(s.Replicas, ofReplica(r))
	}
	return s
}

func ofReplica(r *drummerpb.ReplicaInfo) Replica {
	role := "voter"
	if r.GetObserver() {
		role = "observer"
	}
	return Replica{ID: r.GetId(), Host: HostName(r), Role: role, Leader: r.GetLeader(), State: stateWord(r.GetState())}
}

// HostName is the name that the operator gave; a host that the record has
// forgotten has only its id left.
func HostName(r *drummerpb.ReplicaInfo) string {
	if r.GetHost() != "" {
		return r.GetHost()
	}
	return r.GetHostId()
}

// stateWord is REPLICA_STATE_CATCHING_UP as catching-up.
func stateWord(s drummerpb.ReplicaState) string {
	word := strings.TrimPrefix(s.String(), "REPLICA_STATE_")
	return strings.ToLower(strings.ReplaceAll(word, "_", "-"))
}

// GroupDetail is one group with all that is known.
type GroupDetail struct {
	Group
	Generation uint64            `json:"generation"`
	Regions    map[string]uint32 `json:"regions"`
	Raft       Raft              `json:"raft"`
	Details    []ReplicaDetail   `json:"replica_details"`
}

// Raft are a group's own Raft options; what is 0 is as its hosts are configured.
type Raft struct {
	SnapshotEntries uint64 `json:"snapshot_entries"`
	ElectionTicks   uint32 `json:"election_ticks"`
	HeartbeatTicks  uint32 `json:"heartbeat_ticks"`
}

// ReplicaDetail is what only details tell of a replica.
type ReplicaDetail struct {
	ID      uint64 `json:"id"`
	HostID  string `json:"host_id"`
	Applied uint64 `json:"applied"`
	Detail  string `json:"detail"`
}

// DetailOfGroup translates a group with all that is known.
func DetailOfGroup(g *drummerpb.GroupInfo) GroupDetail {
	d := GroupDetail{Group: OfGroup(g), Generation: g.GetGeneration(), Regions: map[string]uint32{}, Details: []ReplicaDetail{}}
	own := g.GetSpec().GetRaft()
	d.Raft = Raft{own.GetSnapshotEntries(), own.GetElectionTicks(), own.GetHeartbeatTicks()}
	for _, r := range g.GetRegions() {
		d.Regions[r.GetRegion()] = r.GetCount()
	}
	for _, r := range g.GetReplicas() {
		d.Details = append(d.Details, ReplicaDetail{ID: r.GetId(), HostID: r.GetHostId(), Applied: r.GetApplied(), Detail: r.GetDetail()})
	}
	return d
}

// Host is one host.
type Host struct {
	Name      string   `json:"name"`
	ID        string   `json:"id"`
	State     string   `json:"state"`
	Region    string   `json:"region"`
	Zone      string   `json:"zone"`
	Labels    []string `json:"labels"`
	API       string   `json:"api"`
	Raft      string   `json:"raft"`
	BootEpoch uint64   `json:"boot_epoch"`
	SilentMS  int64    `json:"silent_ms"`
	Replicas  uint32   `json:"replicas"`
	Leaders   uint32   `json:"leaders"`
	Unloaded  uint32   `json:"unloaded"`
	Duty      string   `json:"duty"`
	Weight    uint32   `json:"weight"`
	Flapping  bool     `json:"flapping"`
	HeardBy   uint32   `json:"heard_by"`
	Opinions  uint32   `json:"opinions"`
	InMemory  bool     `json:"in_memory"`
	Boot      *Boot    `json:"boot"`
	Version   string   `json:"version"`
	Apps      []App    `json:"apps"`
}

// Boot is how far a host is that starts its replicas.
type Boot struct {
	Total uint32 `json:"total"`
	Done  uint32 `json:"done"`
}

// App is a kind of state machine that a host can run.
type App struct {
	Name    string `json:"name"`
	Version uint32 `json:"version"`
}

// OfHost translates a host.
func OfHost(i *drummerpb.HostInfo) Host {
	h := i.GetHost()
	s := Host{
		Name: h.GetName(), ID: h.GetId(), State: i.GetState(), Region: h.GetRegion(), Zone: h.GetZone(),
		Labels: append([]string{}, h.GetLabels()...), API: h.GetApi(), Raft: h.GetRaft(), BootEpoch: h.GetBootEpoch(),
		SilentMS: i.GetSilentMs(), Replicas: i.GetReplicas(), Leaders: i.GetLeaders(),
		Unloaded: i.GetUnloaded(), InMemory: h.GetInMemory(), Version: i.GetVersion(), Apps: []App{},
		Duty: i.GetDuty(), Weight: cmp.Or(h.GetWanted().GetWeight(), 100), Flapping: i.GetFlapping(),
		HeardBy: i.GetHeardBy(), Opinions: i.GetOpinions(),
	}
	if b := i.GetBoot(); b != nil {
		s.Boot = &Boot{Total: b.GetTotal(), Done: b.GetDone()}
	}
	for _, a := range h.GetApps() {
		s.Apps = append(s.Apps, App{Name: a.GetName(), Version: a.GetVersion()})
	}
	return s
}

// Status sums the cluster up.
type Status struct {
	Deployment  string            `json:"deployment"`
	Leader      string            `json:"leader"`
	Term        uint64            `json:"term"`
	Incarnation uint64            `json:"incarnation"`
	Revision    uint64            `json:"revision"`
	Groups      map[string]uint32 `json:"groups"`
	Hosts       map[string]uint32 `json:"hosts"`
	Operations  uint32            `json:"operations"`
	Policy      Policy            `json:"policy"`
	Brake       Brake             `json:"brake"`
	Paused      []string          `json:"paused"`
}

// Brake tells whether everything is kept where it is.
type Brake struct {
	Engaged bool   `json:"engaged"`
	Reason  string `json:"reason"`
	Since   string `json:"since"`
}

// Policy is the policy in force.
type Policy struct {
	SuspectAfterMS    int64  `json:"suspect_after_ms"`
	DownAfterMS       int64  `json:"down_after_ms"`
	OperationsPerHost uint32 `json:"operations_per_host"`
	OperationsTotal   uint32 `json:"operations_total"`

	OperationsPerRegion uint32 `json:"operations_per_region"`
	BalanceMoves        uint32 `json:"balance_moves"`
	BrakePercent        uint32 `json:"brake_percent"`
	BrakeWindowMS       int64  `json:"brake_window_ms"`
	OperationDeadlineMS int64  `json:"operation_deadline_ms"`
	UnreachableAfterMS  int64  `json:"unreachable_after_ms"`
}

// OfStatus translates the status.
func OfStatus(r *drummerpb.StatusResponse) Status {
	return Status{
		Deployment: r.GetDeployment(), Leader: r.GetLeader(), Term: r.GetTerm(), Incarnation: r.GetIncarnation(), Revision: r.GetRevision(),
		Groups: orEmpty(r.GetGroups()), Hosts: orEmpty(r.GetHosts()), Operations: r.GetOperations(),
		Policy: Policy{
			SuspectAfterMS: r.GetPolicy().GetSuspectAfterMs(), DownAfterMS: r.GetPolicy().GetDownAfterMs(),
			OperationsPerHost: r.GetPolicy().GetOperationsPerHost(), OperationsTotal: r.GetPolicy().GetOperationsTotal(),
			OperationsPerRegion: r.GetPolicy().GetOperationsPerRegion(), BalanceMoves: r.GetPolicy().GetBalanceMoves(),
			BrakePercent: r.GetPolicy().GetBrakePercent(), BrakeWindowMS: r.GetPolicy().GetBrakeWindowMs(), OperationDeadlineMS: r.GetPolicy().GetOperationDeadlineMs(),
			UnreachableAfterMS: r.GetPolicy().GetUnreachableAfterMs(),
		},
		Brake:  Brake{Engaged: r.GetBrake().GetEngaged(), Reason: r.GetBrake().GetReason(), Since: moment(r.GetBrake().GetSinceUnixMs())},
		Paused: append([]string{}, r.GetPaused()...),
	}
}

func orEmpty(m map[string]uint32) map[string]uint32 {
	if m == nil {
		return map[string]uint32{}
	}
	return m
}

// Event is one line of the history.
type Event struct {
	Sequence uint64 `json:"sequence"`
	At       string `json:"at"`
	Kind     string `json:"kind"`
	Group    string `json:"group"`
	Region   string `json:"region"`
	Host     string `json:"host"`
	Text     string `json:"text"`
}

// OfEvent translates an event.
func OfEvent(e *fleetpb.Event) Event {
	return Event{Sequence: e.GetSequence(), At: moment(e.GetAtUnixMs()), Kind: e.GetKind(), Group: e.GetGroup(), Region: e.GetRegion(), Host: e.GetHost(), Text: e.GetText()}
}

// moment is a wall clock time in UTC, or empty for none.
func moment(unixMS int64) string {
	if unixMS == 0 {
		return ""
	}
	return time.UnixMilli(unixMS).UTC().Format("2006-01-02T15:04:05.000Z")
}

// Explain says why a group is as it is.
type Explain struct {
	Group      GroupDetail `json:"group"`
	Reasons    []string    `json:"reasons"`
	Operations []Operation `json:"operations"`
}

// Operation is one change to a group.
type Operation struct {
	ID      uint64 `json:"id"`
	Kind    string `json:"kind"`
	Reason  string `json:"reason"`
	Started string `json:"started"`
	Ended   string `json:"ended"`
	Result  string `json:"result"`
}

// OfExplain translates an explanation.
func OfExplain(r *drummerpb.ExplainResponse) Explain {
	s := Explain{Group: DetailOfGroup(r.GetGroup()), Reasons: append([]string{}, r.GetReasons()...), Operations: []Operation{}}
	for _, o := range r.GetOperations() {
		s.Operations = append(s.Operations, Operation{
			ID: o.GetId(), Kind: o.GetKind(), Reason: o.GetReason(),
			Started: moment(o.GetStartedUnixMs()), Ended: moment(o.GetEndedUnixMs()), Result: o.GetResult(),
		})
	}
	return s
}

// Item is the record's answer to one group.
type Item struct {
	Name   string `json:"name"`
	Region string `json:"region"`
	ID     uint64 `json:"id"`
	Result string `json:"result"`
	Detail string `json:"detail"`
}

// OfItem translates an answer.
func OfItem(i *fleetpb.ItemResult) Item {
	word := strings.ToLower(strings.TrimPrefix(i.GetCode().String(), "CODE_"))
	return Item{Name: i.GetName(), Region: i.GetRegion(), ID: i.GetId(), Result: strings.ReplaceAll(word, "_", "-"), Detail: i.GetDetail()}
}

// Launch is what a launch or a create came to.
type Launch struct {
	DryRun bool   `json:"dry_run"`
	Groups []Item `json:"groups"`
}

// Delete is what the deletion of a group came to.
type Delete struct {
	Name   string `json:"name"`
	Region string `json:"region"`
	ID     uint64 `json:"id"`
	DryRun bool   `json:"dry_run"`
	Forced bool   `json:"forced"`
}

// Bytes is any bytes: base64 always, text when they are UTF-8.
type Bytes struct {
	Text   *string `json:"text"`
	Base64 []byte  `json:"base64"`
}

// Propose is the answer to a raw proposal.
type Propose struct {
	Group uint64 `json:"group"`
	Value uint64 `json:"value"`
	Data  Bytes  `json:"data"`
}

// Read is the answer to a raw query.
type Read struct {
	Group uint64 `json:"group"`
	Data  Bytes  `json:"data"`
}

// Entry is one key of a kv group; Value is nil when only keys were asked for.
type Entry struct {
	Key      Bytes  `json:"key"`
	Value    *Bytes `json:"value,omitempty"`
	Revision uint64 `json:"revision"`
}

// Change is what a put or a compare-and-set came to.
type Change struct {
	Key      Bytes  `json:"key"`
	Revision uint64 `json:"revision"`
}

// ReplicaCell shows replicas in one cell: the leader has a star, and a state that
// is not ok is said.
func ReplicaCell(replicas []Replica) string {
	var cells []string
	for _, r := range replicas {
		cell := r.Host
		if r.Leader {
			cell += "*"
		}
		var notes []string
		if r.Role != "voter" {
			notes = append(notes, r.Role)
		}
		if r.State != "ok" {
			notes = append(notes, r.State)
		}
		if len(notes) > 0 {
			cell += fmt.Sprintf("(%s)", strings.Join(notes, ","))
		}
		cells = append(cells, cell)
	}
	return strings.Join(cells, " ")
}

// Deleted is what the deletion of a key came to.
type Deleted struct {
	Key     Bytes `json:"key"`
	Deleted bool  `json:"deleted"`
}

// Version is the version of this program.
type Version struct {
	Version string `json:"version"`
}

// OfBytes shows bytes to programs.
func OfBytes(data []byte) Bytes {
	s := Bytes{Base64: append([]byte{}, data...)}
	if utf8.Valid(data) {
		text := string(data)
		s.Text = &text
	}
	return s
}
