package loop_test

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
	"github.com/drumline/drumline/drummer/loop"
	"github.com/drumline/drumline/drummer/status"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/statemachines"
)

// TestScripts runs testdata/*.txt: transcripts of events and effects. Each line of
// a verb is one event:
//
//	at D                                    sets the clock
//	lead TERM | unlead
//	connect SESSION ID [name=N] [epoch=E] [deployment=D] [fleet=F] [raft=ADDRESS] [tick=D] [sleep=NEVER|HIBERNATE] [age=A]; replicas follow as REPLICA:FLAGS
//	report SESSION REPLICA:FLAGS...         FLAGS: starting ok down retired observer unloaded serving opened sealed gone, cc3 term2, separated by +
//	unheard SESSION [ID...]                 an opinion of the neighbours
//	beat SESSION[:AGE]... | gone SESSION
//	answer SESSION ORDER ok|failed|refused [members=CC:VOTERS:OBSERVERS:REMOVED]
//	record COMMAND                          applies a command to the record, as prototext
//	pass                                    a pass with the record as it is
//	settle                                  passes, applying what is proposed, until nothing is
//	commit TOKEN | fail TOKEN               a proposal is applied and answered, or fails
//	status                                  groups and hosts as people see them
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		s := &script{m: fleet.New(), c: loop.New(loop.Options{Deployment: "d", Fleet: "f", Drummers: []string{"d1:1"}})}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			require.Equal(t, "do", d.Cmd)
			s.t, s.out = t, strings.Builder{}
			for l := range strings.Lines(d.Input) {
				verb, rest, _ := strings.Cut(strings.TrimSpace(l), " ")
				s.do(verb, rest, strings.Fields(rest))
			}
			return s.out.String()
		})
	})
}

type script struct {
	t     *testing.T
	m     *fleet.Machine
	c     *loop.Core
	now   time.Duration
	out   strings.Builder
	waits map[uint64]*fleetpb.Command
}

func (s *script) do(verb, rest string, words []string) {
	switch verb {
	case "at":
		d, err := time.ParseDuration(rest)
		require.NoError(s.t, err)
		s.now = d
	case "lead":
		s.waits = map[uint64]*fleetpb.Command{}
		s.step(loop.Led{Term: integer(rest)})
	case "unlead":
		s.step(loop.Unled{})
	case "connect":
		s.connect(words)
	case "report":
		s.report(words)
	case "beat":
		for _, w := range words {
			session, age, _ := strings.Cut(w, ":")
			s.step(loop.Beat{Session: integer(session), Age: integer(age)})
		}
	case "gone":
		s.step(loop.Gone{Session: integer(rest)})
	case "unheard":
		s.step(loop.Opined{Session: integer(words[0]), Unheard: words[1:]})
	case "answer":
		s.answer(words)
	case "record":
		var c fleetpb.Command
		require.NoError(s.t, prototext.Unmarshal([]byte(rest), &c), rest)
		r := s.apply(&c)
		require.Equal(s.t, fleetpb.Code_CODE_OK, r.GetCode(), r.GetDetail())
	case "pass":
		s.step(loop.Pass{View: s.m.Freeze()})
	case "commit", "fail":
		s.resolve(integer(rest), verb == "commit")
	case "settle":
		for s.step(loop.Pass{View: s.m.Freeze()}); len(s.waits) > 0; s.step(loop.Pass{View: s.m.Freeze()}) {
			for _, token := range slices.Sorted(maps.Keys(s.waits)) {
				s.resolve(token, true)
			}
		}
	case "status":
		s.status()
	default:
		require.FailNow(s.t, "no verb", verb)
	}
}

func integer(s string) uint64 {
	n, _ := strconv.ParseUint(s, 10, 64)
	return n
}

func (s *script) apply(c *fleetpb.Command) *fleetpb.Result {
	data, err := proto.Marshal(c)
	require.NoError(s.t, err)
	results := make([]statemachines.Result, 1)
	s.m.Apply([]statemachines.Command{{Data: data}}, results)
	var r fleetpb.Result
	require.NoError(s.t, proto.Unmarshal(results[0].Data, &r))
	return &r
}

func (s *script) resolve(token uint64, commit bool) {
	c := s.waits[token]
	require.NotNil(s.t, c, "token %d", token)
	delete(s.waits, token)
	if commit {
		s.step(loop.Proposed{Token: token, Result: s.apply(c)})
	} else {
		s.step(loop.Proposed{Token: token, Err: "lost"})
	}
}

func (s *script) step(e loop.Event) {
	for _, f := range s.c.Step(e, s.now) {
		switch f := f.(type) {
		case loop.Send:
			fmt.Fprintf(&s.out, "%d <- %s\n", f.Session, short(f.Message))
		case loop.Propose:
			s.waits[f.Token] = f.Command
			fmt.Fprintf(&s.out, "propose %d: %s\n", f.Token, short(f.Command))
		case loop.Disconnect:
			verdict := map[loop.Verdict]string{loop.NotNow: " (not now)", loop.Never: " (never)"}[f.Verdict]
			fmt.Fprintf(&s.out, "disconnect %d%s: %s\n", f.Session, verdict, f.Reason)
		}
	}
}

func short(m proto.Message) string {
	return strings.Join(strings.Fields(prototext.MarshalOptions{}.Format(m)), " ")
}

func (s *script) connect(words []string) {
	h := &fleetpb.Host{Id: words[1], Name: "host-" + words[1], Region: "r", Api: "x:1", Raft: "x:2", BootEpoch: 1, Apps: []*fleetpb.App{{Name: "kv", Version: 1}}}
	hello := &drummerpb.Hello{Deployment: "d", Host: h, Version: "v1"}
	for _, w := range words[2:] {
		k, v, option := strings.Cut(w, "=")
		switch {
		case !option:
			r, _ := s.replica(w)
			hello.Replicas = append(hello.Replicas, r)
		case k == "name":
			h.Name = v
		case k == "epoch":
			h.BootEpoch = integer(v)
		case k == "tick":
			d, err := time.ParseDuration(v)
			require.NoError(s.t, err)
			h.TickUs = uint64(d.Microseconds())
		case k == "sleep":
			n, known := fleetpb.Sleep_value["SLEEP_"+v]
			require.True(s.t, known, v)
			h.Sleep = fleetpb.Sleep(n)
		case k == "age":
			h.Age = integer(v)
		case k == "raft":
			h.Raft = v
		case k == "deployment":
			hello.Deployment = v
		case k == "fleet":
			hello.Fleet = v
		}
	}
	s.step(loop.Connected{Session: integer(words[0]), Hello: hello})
}

// replica reads REPLICA:FLAGS.
func (s *script) replica(text string) (r *drummerpb.ReplicaReport, gone bool) {
	id, flags, _ := strings.Cut(text, ":")
	r = &drummerpb.ReplicaReport{Replica: integer(id), State: drummerpb.ReplicaState_REPLICA_STATE_OK}
	for g := range s.m.Freeze().Groups() {
		for _, m := range g.GetReplicas() {
			if m.GetId() == r.GetReplica() {
				r.Group, r.Name = g.GetId(), g.GetSpec().GetName()
			}
		}
	}
	for _, f := range strings.Split(flags, "+") {
		switch {
		case f == "starting":
			r.State = drummerpb.ReplicaState_REPLICA_STATE_STARTING
		case f == "down":
			r.State, r.Detail = drummerpb.ReplicaState_REPLICA_STATE_DOWN, "damaged"
		case f == "retired":
			r.State = drummerpb.ReplicaState_REPLICA_STATE_RETIRED
		case f == "unloaded":
			r.Unloaded = true
		case f == "observer":
			r.Observer = true
		case f == "serving":
			r.Serving, r.LeaderReplica = true, r.GetReplica()
		case f == "opened":
			r.Opened, r.Version = true, 1
		case f == "sealed":
			r.Sealed = true
		case f == "gone":
			gone = true
		case strings.HasPrefix(f, "term"):
			r.Term = integer(f[4:])
		case strings.HasPrefix(f, "leader"):
			r.LeaderReplica = integer(f[6:])
		case strings.HasPrefix(f, "cc"):
			r.ConfigChange = integer(f[2:])
		case strings.HasPrefix(f, "members="):
			r.Membership = members(f[8:])
		}
	}
	return r, gone
}

// members reads CC:VOTERS:OBSERVERS:REMOVED, each a list with dots.
func members(text string) *drummerpb.Membership {
	parts := strings.Split(text+";;;", ";")
	list := func(i int) (ids []uint64) {
		for _, w := range strings.FieldsFunc(parts[i], func(r rune) bool { return r == '.' }) {
			ids = append(ids, integer(w))
		}
		return ids
	}
	m := &drummerpb.Membership{ConfigChange: integer(parts[0]), Voters: map[uint64]string{}, Observers: map[uint64]string{}, Removed: list(3)}
	for _, id := range list(1) {
		m.Voters[id] = "x"
	}
	for _, id := range list(2) {
		m.Observers[id] = "x"
	}
	return m
}

func (s *script) report(words []string) {
	rep := &drummerpb.Report{}
	for _, w := range words[1:] {
		r, gone := s.replica(w)
		if gone {
			rep.Gone = append(rep.Gone, &drummerpb.ReplicaRef{Group: r.GetGroup(), Replica: r.GetReplica()})
		} else {
			rep.Changed = append(rep.Changed, r)
		}
	}
	s.step(loop.Reported{Session: integer(words[0]), Report: rep})
}

func (s *script) answer(words []string) {
	r := &drummerpb.OrderResult{Order: integer(words[1]), Ok: words[2] == "ok", Refused: words[2] == "refused", Detail: words[2]}
	if len(words) > 3 {
		r.Membership = members(strings.TrimPrefix(words[3], "members="))
	}
	s.step(loop.Answered{Session: integer(words[0]), Result: r})
}

func (s *script) status() {
	v, o := s.m.Freeze(), s.c.Observed(s.now)
	for _, h := range status.HostInfos(v, o) {
		flaps := ""
		if o.Host(ids.Host(h.GetHost().GetId())).Flapping {
			flaps = ", flapping"
		}
		fmt.Fprintf(&s.out, "host %s (%s) %s silent %dms, %d replicas, %d leaders%s\n", h.GetHost().GetName(), h.GetHost().GetId(), h.GetState(), h.GetSilentMs(), h.GetReplicas(), h.GetLeaders(), flaps)
	}
	for g := range v.Groups() {
		info := status.GroupInfo(v, o, ids.Group(g.GetId()))
		fmt.Fprintf(&s.out, "group %d %s %s want %d\n", info.GetId(), info.GetName(), info.GetState(), info.GetWant())
		for _, r := range info.GetReplicas() {
			state := strings.ToLower(strings.TrimPrefix(r.GetState().String(), "REPLICA_STATE_"))
			fmt.Fprintf(&s.out, "  %d on %s %s observer=%v leader=%v %s\n", r.GetId(), r.GetHost(), state, r.GetObserver(), r.GetLeader(), r.GetDetail())
		}
		if live := v.ByName(statemachines.NameOf(info)); live != nil {
			for _, reason := range status.Explain(v, o, live).GetReasons() {
				fmt.Fprintf(&s.out, "  because %s\n", reason)
			}
		}
	}
	sum := status.Summary(v, o)
	fmt.Fprintf(&s.out, "term %d groups %v hosts %v operations %d\n", sum.GetTerm(), sum.GetGroups(), sum.GetHosts(), sum.GetOperations())
}
