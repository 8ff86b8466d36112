package planner_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/planner"
	"github.com/drumline/drumline/drummer/planner/opinion"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/statemachines"
)

// TestScripts runs testdata/*.txt: transcripts of what is known and what is planned.
//
//	hosts       one on each line: NAME REGION [zone=Z] [label=L] [kv=VERSION]; all are up
//	apply       commands for the record as prototext, one on each line
//	open        groups that serve: NAME HOSTS, replicas in that order, all reported, the first leads
//	host        NAME [up|suspect|down|lost] [silent=D] [age=D] [connected=no] [booting=N] [maintained] [flapping]
//	report      REPLICA [starting|ok|down|none|retired] [applied=N] [serving] [term=N] [cc=N] [observer] [unloaded] [opened] [sealed] [version=N] [raft=SNAPSHOT-ENTRIES]
//	members     GROUP cc=N voters=1,2 [observers=3] [removed=4]: a linearizable read
//	caught-up   REPLICA...
//	set         now=D settling unsteady changing=GROUP gone=REPLICA refused=REPLICA absent=REPLICA avoid=NAME:HOST clear=GROUP
//	plan        [apply]: plans, prints, and applies the commands with apply
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		s := newStage(t)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			s.t = t
			switch d.Cmd {
			case "reset":
				s = newStage(t)
			case "hosts", "apply", "open", "host", "report", "members", "caught-up":
				var out strings.Builder
				for l := range strings.Lines(d.Input) {
					out.WriteString(s.line(d.Cmd, strings.TrimSpace(l)))
				}
				return out.String()
			case "set":
				for _, a := range d.CmdArgs {
					s.set(a.Key, strings.Join(a.Vals, ","))
				}
			case "plan":
				return s.plan(d.HasArg("apply"), d.HasArg("pending"))
			default:
				d.Fatalf(t, "no verb %s", d.Cmd)
			}
			return ""
		})
	})
}

// stage is a record and what is observed beside it.
type stage struct {
	t       *testing.T
	m       *fleet.Machine
	o       *planner.Observed
	pending []*fleetpb.Command
}

func newStage(t *testing.T) *stage {
	return &stage{t: t, m: fleet.New(), o: &planner.Observed{
		Hosts: map[ids.Host]*planner.Host{}, Groups: map[ids.Group]*planner.Group{}, Refusers: map[string]map[ids.Host]bool{},
	}}
}

func (s *stage) apply(c *fleetpb.Command) *fleetpb.Result {
	data, err := proto.Marshal(c)
	require.NoError(s.t, err)
	results := make([]statemachines.Result, 1)
	s.m.Apply([]statemachines.Command{{Data: data}}, results)
	var r fleetpb.Result
	require.NoError(s.t, proto.Unmarshal(results[0].Data, &r))
	return &r
}

// options splits words into key=value and bare ones.
func options(words []string) map[string]string {
	o := map[string]string{}
	for _, w := range words {
		k, v, _ := strings.Cut(w, "=")
		o[k] = v
	}
	return o
}

func number(s string) uint64 {
	n, _ := strconv.ParseUint(s, 10, 64)
	return n
}

func numbers(s string) []uint64 {
	var list []uint64
	for _, w := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' }) {
		list = append(list, number(w))
	}
	return list
}

func duration(s string) time.Duration {
	d, _ := time.ParseDuration(s)
	return d
}

func (s *stage) line(verb, l string) string {
	words := strings.Fields(l)
	switch verb {
	case "hosts":
		s.host(words[0], words[1], options(words[2:]))
	case "apply":
		var c fleetpb.Command
		require.NoError(s.t, prototext.Unmarshal([]byte(l), &c), l)
		if r := s.apply(&c); r.GetCode() != fleetpb.Code_CODE_OK || r.GetDetail() != "" {
			return fmt.Sprintf("%s %s\n", r.GetCode(), r.GetDetail())
		}
	case "open":
		s.open(words[0], strings.Split(words[1], ","))
	case "host":
		s.judge(s.o.Hosts[ids.Host(words[0])], words[1:])
	case "report":
		s.report(number(words[0]), words[1:])
	case "members":
		s.members(number(words[0]), options(words[1:]))
	case "caught-up":
		for _, w := range words {
			g, _ := s.find(number(w))
			s.group(g.GetId()).CaughtUp[ids.Replica(number(w))] = s.o.Now
		}
	}
	return ""
}

func (s *stage) host(name, region string, o map[string]string) {
	version := uint32(max(1, number(o["kv"]))) //nolint:gosec // small
	var labels []string
	if o["label"] != "" {
		labels = append(labels, o["label"])
	}
	require.Equal(s.t, fleetpb.Code_CODE_OK, s.apply(&fleetpb.Command{Op: &fleetpb.Command_RegisterHost{RegisterHost: &fleetpb.Host{
		Id: name, Name: name, Region: region, Zone: o["zone"], Labels: labels, Api: "x:1", Raft: "x:2", BootEpoch: 1,
		Apps: []*fleetpb.App{{Name: "kv", Version: version}},
	}}}).GetCode())
	s.o.Hosts[ids.Host(name)] = &planner.Host{Connected: true, Replicas: map[planner.Ref]*drummerpb.ReplicaReport{}}
}

func (s *stage) judge(h *planner.Host, words []string) {
	o := options(words)
	for i, state := range []string{"up", "suspect", "down", "lost"} {
		if _, ok := o[state]; ok {
			h.State = planner.Liveness(i)
			h.Connected = i == 0
		}
	}
	h.Silent, h.Age = duration(o["silent"]), duration(o["age"])
	_, h.Maintained = o["maintained"]
	_, h.Flapping = o["flapping"]
	if _, ok := o["unreachable"]; ok {
		h.Opinion = opinion.New(2, 3, h.Silent, 5*time.Minute)
	} else {
		h.Opinion = opinion.Opinion{}
	}
	if n := number(o["booting"]); n > 0 {
		h.Boot = &drummerpb.Boot{Total: uint32(n)} //nolint:gosec // small
	} else {
		h.Boot = nil
	}
	if o["connected"] == "no" {
		h.Connected = false
	}
}

// find returns the group and the replica of that number.
func (s *stage) find(replica uint64) (*fleetpb.Group, *fleetpb.Replica) {
	for g := range s.m.Freeze().Groups() {
		for _, r := range g.GetReplicas() {
			if r.GetId() == replica {
				return g, r
			}
		}
	}
	require.FailNow(s.t, "no replica", "%d", replica)
	return nil, nil
}

func (s *stage) group(id uint64) *planner.Group {
	g := s.o.Groups[ids.Group(id)]
	if g == nil {
		g = &planner.Group{CaughtUp: map[ids.Replica]time.Duration{}, Absent: map[ids.Replica]bool{}, Gone: map[ids.Replica]bool{}, Refused: map[ids.Replica]string{}}
		s.o.Groups[ids.Group(id)] = g
	}
	return g
}

func (s *stage) report(replica uint64, words []string) {
	g, r := s.find(replica)
	o := options(words)
	flag := func(k string) bool { _, ok := o[k]; return ok }
	rep := &drummerpb.ReplicaReport{
		Group: g.GetId(), Replica: replica, Name: g.GetSpec().GetName(), State: drummerpb.ReplicaState_REPLICA_STATE_OK,
		Observer: flag("observer"), Unloaded: flag("unloaded"), Opened: flag("opened"), Sealed: flag("sealed"), Serving: flag("serving"),
		Applied: number(o["applied"]), Term: number(o["term"]), ConfigChange: number(o["cc"]), Version: uint32(number(o["version"])), //nolint:gosec // small
	}
	if flag("raft") {
		rep.Raft = &fleetpb.RaftOptions{SnapshotEntries: number(o["raft"])}
	}
	switch {
	case flag("starting"):
		rep.State = drummerpb.ReplicaState_REPLICA_STATE_STARTING
	case flag("retired"):
		rep.State = drummerpb.ReplicaState_REPLICA_STATE_RETIRED
	case flag("down"):
		rep.State, rep.Detail = drummerpb.ReplicaState_REPLICA_STATE_DOWN, "damaged"
	}
	ref := planner.Ref{Group: ids.Group(g.GetId()), Replica: ids.Replica(replica)}
	s.o.Hosts[ids.Host(r.GetHostId())].Replicas[ref] = rep
	if flag("none") {
		delete(s.o.Hosts[ids.Host(r.GetHostId())].Replicas, ref)
	}
}

func (s *stage) members(group uint64, o map[string]string) {
	m := &drummerpb.Membership{ConfigChange: number(o["cc"]), Voters: map[uint64]string{}, Observers: map[uint64]string{}, Removed: numbers(o["removed"])}
	for _, id := range numbers(o["voters"]) {
		m.Voters[id] = "x"
	}
	for _, id := range numbers(o["observers"]) {
		m.Observers[id] = "x"
	}
	s.group(group).Membership = m
}

// open makes a group that serves on the hosts, known and reported.
func (s *stage) open(name string, hosts []string) {
	ok := func(c *fleetpb.Command) *fleetpb.Result {
		r := s.apply(c)
		require.Equal(s.t, fleetpb.Code_CODE_OK, r.GetCode(), r.GetDetail())
		return r
	}
	spec := &fleetpb.Spec{Name: name, App: "kv", Replicas: uint32(len(hosts))} //nolint:gosec // small
	if s.m.Freeze().ByName(name) == nil {
		ok(&fleetpb.Command{Op: &fleetpb.Command_CreateGroups{CreateGroups: &fleetpb.CreateGroups{Specs: []*fleetpb.Spec{spec}}}})
	}
	group := func() *fleetpb.Group { return s.m.Freeze().ByName(name) }
	ok(&fleetpb.Command{Op: &fleetpb.Command_Place{Place: &fleetpb.Place{Group: group().GetId(), Generation: group().GetGeneration(), HostIds: hosts}}})
	var replicas []uint64
	voters := ""
	for _, r := range group().GetReplicas() {
		replicas = append(replicas, r.GetId())
		voters += fmt.Sprintf("%d,", r.GetId())
	}
	ok(&fleetpb.Command{Op: &fleetpb.Command_ReplicasStarted{ReplicasStarted: &fleetpb.ReplicasStarted{Group: group().GetId(), Replicas: replicas}}})
	for _, state := range []fleetpb.GroupState{fleetpb.GroupState_GROUP_STATE_OPENING, fleetpb.GroupState_GROUP_STATE_OPEN} {
		ok(&fleetpb.Command{Op: &fleetpb.Command_Advance{Advance: &fleetpb.Advance{Group: group().GetId(), Generation: group().GetGeneration(), State: state}}})
	}
	cc := fmt.Sprint(len(hosts))
	ok(&fleetpb.Command{Op: &fleetpb.Command_Membership{Membership: &fleetpb.MembershipSeen{Group: group().GetId(), ConfigChange: number(cc), Voters: replicas}}})
	for i, id := range replicas {
		words := []string{"ok", "term=1", "opened", "version=1", "cc=" + cc}
		if i == 0 {
			words = append(words, "serving")
		}
		s.report(id, words)
	}
	s.members(group().GetId(), map[string]string{"cc": cc, "voters": voters})
}

func (s *stage) set(key, value string) {
	switch key {
	case "now":
		s.o.Now = duration(value)
	case "settling":
		s.o.Settling = value != "no"
	case "unsteady":
		s.o.Unsteady = value != "no"
	case "changing":
		s.group(number(value)).Changing = true
	case "clear":
		s.o.Groups[ids.Group(number(value))].Changing = false
		clear(s.group(number(value)).CaughtUp)
	case "gone":
		g, _ := s.find(number(value))
		s.group(g.GetId()).Gone[ids.Replica(number(value))] = true
	case "refused":
		g, _ := s.find(number(value))
		s.group(g.GetId()).Refused[ids.Replica(number(value))] = "no room"
	case "absent":
		g, _ := s.find(number(value))
		s.group(g.GetId()).Absent[ids.Replica(number(value))] = true
	case "avoid":
		name, host, _ := strings.Cut(value, ":")
		s.o.Refusers[name] = map[ids.Host]bool{ids.Host(host): true}
	default:
		require.FailNow(s.t, "no such setting", key)
	}
}

func (s *stage) plan(apply, pending bool) string {
	r := planner.Plan(planner.View{Fleet: s.m.Freeze(), Observed: s.o, Pending: s.pending})
	again := planner.Plan(planner.View{Fleet: s.m.Freeze(), Observed: s.o, Pending: s.pending})
	require.Equal(s.t, fmt.Sprint(text(r)), fmt.Sprint(text(again)), "the same view gives the same plan")
	for _, a := range r.Actions {
		if a.Command != nil && pending {
			s.pending = append(s.pending, a.Command)
		}
		if a.Command != nil && apply {
			result := s.apply(a.Command)
			require.Equal(s.t, fleetpb.Code_CODE_OK, result.GetCode(), result.GetDetail())
		}
	}
	if !pending {
		s.pending = nil
	}
	return text(r)
}

func text(r planner.Result) string {
	var b strings.Builder
	for _, a := range r.Actions {
		if a.Command != nil {
			fmt.Fprintf(&b, "propose %s -- %s\n", proto2text(a.Command), a.Why)
			continue
		}
		o := proto.CloneOf(a.Order)
		o.HostId, o.BootEpoch, o.Group, o.Replica, o.Generation = "", 0, 0, 0, 0
		fmt.Fprintf(&b, "order g%d r%d on %s: %s -- %s\n", a.Order.GetGroup(), a.Order.GetReplica(), a.Order.GetHostId(), proto2text(o), a.Why)
	}
	for _, id := range slices.Sorted(maps.Keys(r.Reasons)) {
		for _, reason := range r.Reasons[id] {
			fmt.Fprintf(&b, "g%d: %s\n", id, reason)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(r.HostReasons)) {
		for _, reason := range r.HostReasons[id] {
			fmt.Fprintf(&b, "%s: %s\n", id, reason)
		}
	}
	if b.Len() == 0 {
		return "nothing\n"
	}
	return b.String()
}

// proto2text is prototext without its deliberately unstable spaces.
func proto2text(m proto.Message) string {
	return strings.Join(strings.Fields(prototext.MarshalOptions{}.Format(m)), " ")
}
