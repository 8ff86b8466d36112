package supervise

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/drumline/drumline/drummer/loop"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/serve"
)

func TestLeadershipIsFollowed(t *testing.T) {
	r := newRig(t)
	_, err := r.sup.Observed(t.Context())
	require.True(t, fault.Is(err, fault.NotSupervisor), "%v", err)
	r.lead(3)
	o, err := r.sup.Observed(t.Context())
	require.NoError(t, err)
	require.True(t, o.Leading)
	r.eventually(func() bool { return r.core.count(is[loop.Pass]) > 3 }, "passes")

	// Another term is another leadership, even without a gap.
	r.lead(5)
	require.Equal(t, 1, r.core.count(is[loop.Unled]))
	require.Equal(t, 1, r.core.count(func(e loop.Event) bool { return e == loop.Event(loop.Led{Term: 5}) }))

	r.record.term.Store(0)
	r.leader.Store("other:1")
	r.sup.Poke()
	r.eventually(func() bool { return r.core.count(is[loop.Unled]) == 2 }, "unled")
	_, err = r.sup.Observed(t.Context())
	require.Equal(t, "other:1", fault.Of(err).Leader)

	// Led comes before the first Pass, and none follows Unled.
	r.core.mu.Lock()
	defer r.core.mu.Unlock()
	require.IsType(t, loop.Led{}, r.core.events[0])
	require.IsType(t, loop.Pass{}, r.core.events[1])
	require.IsType(t, loop.Unled{}, r.core.events[len(r.core.events)-1])
}

func TestATakeOverThatFailsIsTriedAgain(t *testing.T) {
	r := newRig(t)
	var tries atomic.Int32
	r.record.takeOver = func() error {
		if tries.Add(1) < 3 {
			return errors.New("no quorum")
		}
		return nil
	}
	r.lead(1)
	require.Equal(t, int32(3), tries.Load())
}

func TestALeadershipLostDuringTheTakeOver(t *testing.T) {
	r := newRig(t)
	r.record.takeOver = func() error { r.record.term.CompareAndSwap(1, 2); return nil }
	r.record.term.Store(1)
	r.sup.Poke()
	r.eventually(func() bool { term, _ := r.sup.Leading(); return term == 2 }, "term 2")
	require.Zero(t, r.core.count(func(e loop.Event) bool { return e == loop.Event(loop.Led{Term: 1}) }))
}

func TestWhoDoesNotLeadRedirects(t *testing.T) {
	r := newRig(t)
	r.leader.Store("other:1")
	st := r.stream()
	require.NoError(t, st.Send(hello()))
	m, err := st.Recv()
	require.NoError(t, err)
	require.Equal(t, "other:1", m.GetRedirect().GetLeader())
	_, err = st.Recv()
	require.ErrorIs(t, err, io.EOF)
}

func TestAStreamWaitsForTheTakeOver(t *testing.T) {
	r := newRig(t)
	release := make(chan struct{})
	r.record.takeOver = func() error { <-release; return nil }
	r.record.term.Store(1)
	r.sup.Poke()
	st := r.stream()
	require.NoError(t, st.Send(hello()))
	close(release)
	r.eventually(func() bool { return r.core.count(is[loop.Connected]) == 1 }, "connected")
	require.NoError(t, st.CloseSend())
	_, err := st.Recv()
	require.ErrorIs(t, err, io.EOF)
}

func TestHostsMessagesBecomeEvents(t *testing.T) {
	r := newRig(t)
	r.core.on(func(e loop.Event) []loop.Effect {
		if c, ok := e.(loop.Connected); ok {
			return []loop.Effect{loop.Send{Session: c.Session, Message: welcome()}, loop.Send{Session: 999, Message: welcome()}}
		}
		return nil
	})
	r.lead(1)
	st := r.attend()
	m, err := st.Recv()
	require.NoError(t, err)
	require.NotNil(t, m.GetWelcome())
	require.NoError(t, st.Send(beat()))
	require.NoError(t, st.Send(report(&drummerpb.Report{Changed: []*drummerpb.ReplicaReport{{Group: 1000, Replica: 1}}})))
	require.NoError(t, st.Send(&drummerpb.HostMessage{Body: &drummerpb.HostMessage_Result{Result: &drummerpb.OrderResult{Order: 5}}}))
	require.NoError(t, st.Send(&drummerpb.HostMessage{Body: &drummerpb.HostMessage_Goodbye{Goodbye: &drummerpb.Goodbye{}}}))
	_, err = st.Recv()
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, 1, r.core.count(is[loop.Beat]))
	require.Equal(t, 1, r.core.count(is[loop.Reported]))
	require.Equal(t, 1, r.core.count(func(e loop.Event) bool { a, ok := e.(loop.Answered); return ok && a.Result.GetOrder() == 5 }))
	require.Equal(t, 1, r.core.count(func(e loop.Event) bool { g, ok := e.(loop.Gone); return ok && g.Goodbye }))
	require.Equal(t, 1, r.core.count(is[loop.Gone]), "gone is told once")
}

func TestABrokenStreamIsGone(t *testing.T) {
	r := newRig(t)
	r.lead(1)
	ctx, cancel := context.WithCancel(t.Context())
	st, err := r.client.Attend(ctx)
	require.NoError(t, err)
	require.NoError(t, st.Send(hello()))
	r.eventually(func() bool { return r.core.count(is[loop.Connected]) == 1 }, "connected")
	require.Equal(t, 1, r.metric("drummer_streams"))
	cancel()
	r.eventually(func() bool { return r.core.count(is[loop.Gone]) == 1 }, "gone")
	r.eventually(func() bool { return r.metric("drummer_streams") == 0 }, "counted")
}

func TestBadHellosAreRefused(t *testing.T) {
	r := newRig(t, func(o *Options) { o.HelloTimeout = 2 * time.Second })
	r.lead(1)
	huge := strings.Repeat("x", 100_000)
	for name, m := range map[string]*drummerpb.HostMessage{
		"nothing":          nil,
		"empty message":    {},
		"no hello":         beat(),
		"empty hello":      {Body: &drummerpb.HostMessage_Hello{Hello: &drummerpb.Hello{}}},
		"other deployment": hello(func(h *drummerpb.Hello) { h.Deployment = "prod" }),
		"no id":            hello(func(h *drummerpb.Hello) { h.Host.Id = "" }),
		"no name":          hello(func(h *drummerpb.Hello) { h.Host.Name = "" }),
		"no boot epoch":    hello(func(h *drummerpb.Hello) { h.Host.BootEpoch = 0 }),
		"says it is lost":  hello(func(h *drummerpb.Hello) { h.Host.Lost = true }),
		"huge name":        hello(func(h *drummerpb.Hello) { h.Host.Name = huge }),
		"huge version":     hello(func(h *drummerpb.Hello) { h.Version = huge }),
		"huge fleet":       hello(func(h *drummerpb.Hello) { h.Fleet = huge }),
		"terminal codes":   hello(func(h *drummerpb.Hello) { h.Host.Name = "\x1b[2J" }),
		"replica 0":        hello(func(h *drummerpb.Hello) { h.Replicas = []*drummerpb.ReplicaReport{{Group: 1}} }),
		"not gone on with": hello(func(h *drummerpb.Hello) { h.More = true }),
		"huge detail": hello(func(h *drummerpb.Hello) {
			h.Replicas = []*drummerpb.ReplicaReport{{Group: 1, Replica: 1, Detail: huge}}
		}),
	} {
		t.Run(name, func(t *testing.T) {
			st := r.stream()
			if m != nil {
				require.NoError(t, st.Send(m))
			}
			if m.GetHello().GetMore() {
				require.NoError(t, st.Send(beat()))
			}
			_, err := st.Recv()
			want := codes.InvalidArgument
			if m == nil {
				want = codes.Unavailable // a host that is slow is none to stop
			}
			require.Equal(t, want, status.Code(err), "%v", err)
			require.Less(t, len(err.Error()), 1000)
		})
	}
	require.Zero(t, r.core.count(is[loop.Connected]))
}

func TestALongHelloComesInParts(t *testing.T) {
	r := newRig(t)
	r.lead(1)
	replica := func(n uint64) []*drummerpb.ReplicaReport {
		return []*drummerpb.ReplicaReport{{Group: n, Replica: n}}
	}
	part := func(n uint64, more bool) *drummerpb.HostMessage {
		return &drummerpb.HostMessage{Body: &drummerpb.HostMessage_Hello{Hello: &drummerpb.Hello{Replicas: replica(n), More: more}}}
	}
	st := r.stream()
	require.NoError(t, st.Send(hello(func(h *drummerpb.Hello) { h.Replicas, h.More = replica(1), true })))
	require.NoError(t, st.Send(part(2, true)))
	require.NoError(t, st.Send(part(3, false)))
	r.eventually(func() bool { return r.core.count(is[loop.Connected]) == 1 }, "connected")
	require.Equal(t, 1, r.core.count(func(e loop.Event) bool {
		c, is := e.(loop.Connected)
		return is && len(c.Hello.GetReplicas()) == 3 && c.Hello.GetReplicas()[2].GetGroup() == 3
	}))

	st = r.stream()
	require.NoError(t, st.Send(hello(func(h *drummerpb.Hello) { h.More = true })))
	require.NoError(t, st.Send(part(0, false)))
	_, err := st.Recv()
	require.Equal(t, codes.InvalidArgument, status.Code(err), "its parts are checked, too: %v", err)
}

func TestBadMessagesEndTheStream(t *testing.T) {
	r := newRig(t)
	r.lead(1)
	for name, m := range map[string]*drummerpb.HostMessage{
		"empty":        {},
		"second hello": hello(),
		"group 0":      report(&drummerpb.Report{Changed: []*drummerpb.ReplicaReport{{Replica: 1}}}),
		"gone 0":       report(&drummerpb.Report{Gone: []*drummerpb.ReplicaRef{{Group: 1}}}),
		"huge name":    report(&drummerpb.Report{Changed: []*drummerpb.ReplicaReport{{Group: 1, Replica: 1, Name: strings.Repeat("x", 1000)}}}),
	} {
		t.Run(name, func(t *testing.T) {
			gone := r.core.count(is[loop.Gone])
			st := r.attend()
			require.NoError(t, st.Send(m))
			_, err := st.Recv()
			require.Equal(t, codes.InvalidArgument, status.Code(err), "%v", err)
			require.Equal(t, gone+1, r.core.count(is[loop.Gone]))
		})
	}
	require.Zero(t, r.core.count(is[loop.Reported]))
}

// A host that doesn't read is disconnected; the loop and the others go on.
func TestASlowHostIsDisconnected(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Queue = 4 })
	big := &drummerpb.SupervisorMessage{Body: &drummerpb.SupervisorMessage_Redirect{Redirect: &drummerpb.Redirect{Leader: strings.Repeat("x", 1<<20)}}}
	r.core.on(func(e loop.Event) []loop.Effect {
		if _, beat := e.(loop.Beat); beat {
			return []loop.Effect{loop.Send{Session: 1, Message: big}}
		}
		return nil
	})
	r.lead(1)
	slow, other := r.attend(), r.attend()
	r.eventually(func() bool {
		require.NoError(t, other.Send(beat()))
		return r.core.count(is[loop.Gone]) == 1
	}, "the slow host is gone")
	require.Equal(t, 1, r.core.count(func(e loop.Event) bool { g, ok := e.(loop.Gone); return ok && g.Session == 1 }))
	for {
		_, err := slow.Recv()
		if err != nil {
			require.Contains(t, []codes.Code{codes.ResourceExhausted, codes.Canceled, codes.Unavailable}, status.Code(err), "%v", err)
			break
		}
	}
}

func TestDisconnectEndsASession(t *testing.T) {
	for verdict, reason := range map[loop.Verdict]fault.Reason{
		loop.Over: fault.Unavailable, loop.NotNow: fault.Conflict, loop.Never: fault.HostRefused,
	} {
		r := newRig(t)
		r.core.on(func(e loop.Event) []loop.Effect {
			if c, ok := e.(loop.Connected); ok {
				return []loop.Effect{loop.Disconnect{Session: c.Session, Reason: "another has its id", Verdict: verdict}}
			}
			return nil
		})
		r.lead(1)
		st := r.attend()
		_, err := st.Recv()
		require.ErrorContains(t, err, "another has its id")
		require.Equal(t, reason, fault.ReasonOf(serve.ReadFault(err)))
		r.stop()
		require.Zero(t, r.core.count(is[loop.Gone]), "the Core knows already")
	}
}

func TestHostsAreRedirectedWhenTheLeadIsLost(t *testing.T) {
	r := newRig(t)
	r.core.on(func(e loop.Event) []loop.Effect {
		if _, unled := e.(loop.Unled); unled {
			return []loop.Effect{loop.Disconnect{Session: 1, Reason: "this drummer leads no more"}}
		}
		return nil
	})
	r.lead(1)
	st := r.attend()
	r.leader.Store("next:1")
	r.record.term.Store(0)
	r.sup.Poke()
	m, err := st.Recv()
	require.NoError(t, err)
	require.Equal(t, "next:1", m.GetRedirect().GetLeader())
	_, err = st.Recv()
	require.ErrorIs(t, err, io.EOF)
}

func TestStopSendsHostsAway(t *testing.T) {
	r := newRig(t)
	r.lead(1)
	st, silent := r.attend(), r.stream() // one of them never says hello
	r.stop()
	m, err := st.Recv()
	require.NoError(t, err)
	require.NotNil(t, m.GetRedirect())
	_, err = st.Recv()
	require.ErrorIs(t, err, io.EOF)
	_, err = silent.Recv()
	require.Equal(t, codes.Unavailable, status.Code(err))
	require.Equal(t, 1, r.core.count(is[loop.Unled]))

	late := r.stream()
	_, err = late.Recv()
	require.Equal(t, codes.Unavailable, status.Code(err))
	_, err = r.sup.Observed(t.Context())
	require.Error(t, err)
}

func TestProposalsAreBoundedAndAnswered(t *testing.T) {
	const all, most = 20, 3
	r := newRig(t, func(o *Options) { o.Proposals = most })
	var now, highest atomic.Int32
	gate := make(chan struct{})
	r.record.propose = func(_ context.Context, cmd *fleetpb.Command) (*fleetpb.Result, error) {
		highest.Store(max(highest.Load(), now.Add(1)))
		<-gate
		now.Add(-1)
		switch cmd.GetHostLost().GetHostId() {
		case "fails":
			return nil, fault.New(fault.UnknownOutcome, "who knows")
		case "clashes":
			return &fleetpb.Result{Code: fleetpb.Code_CODE_CONFLICT}, nil
		}
		return &fleetpb.Result{Code: fleetpb.Code_CODE_OK}, nil
	}
	r.core.on(func(e loop.Event) []loop.Effect {
		if e != loop.Event(loop.Led{Term: 1}) {
			return nil
		}
		var list []loop.Effect
		for i := range uint64(all) {
			id := map[uint64]string{4: "fails", 9: "clashes"}[i]
			list = append(list, loop.Propose{Token: i, Command: &fleetpb.Command{Op: &fleetpb.Command_HostLost{HostLost: &fleetpb.HostLost{HostId: id}}}})
		}
		return list
	})
	r.lead(1)
	r.eventually(func() bool { return now.Load() == most }, "the first are under way")
	close(gate)
	r.eventually(func() bool { return r.core.count(is[loop.Proposed]) == all }, "all are answered")
	require.Equal(t, int32(most), highest.Load())
	require.Equal(t, 1, r.core.count(func(e loop.Event) bool { p, ok := e.(loop.Proposed); return ok && p.Token == 4 && p.Err != "" }))
	require.Equal(t, 1, r.core.count(func(e loop.Event) bool {
		p, ok := e.(loop.Proposed)
		return ok && p.Token == 9 && p.Result.GetCode() == fleetpb.Code_CODE_CONFLICT
	}))
	for label, want := range map[string]int{"ok": all - 2, "conflict": 1, "unknown": 1} {
		require.Equal(t, want, r.metric("drummer_proposals_total", label), label)
	}
}

// What was proposed under an older leadership is not answered in the next.
func TestProposalsOfAnOlderLeadershipAreForgotten(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Proposals = 1 })
	gate := make(chan struct{})
	var calls atomic.Int32
	r.record.propose = func(context.Context, *fleetpb.Command) (*fleetpb.Result, error) {
		calls.Add(1)
		<-gate
		return &fleetpb.Result{Code: fleetpb.Code_CODE_OK}, nil
	}
	r.core.on(func(e loop.Event) []loop.Effect {
		switch e {
		case loop.Event(loop.Led{Term: 1}):
			return []loop.Effect{loop.Propose{Token: 1, Command: &fleetpb.Command{}}, loop.Propose{Token: 2, Command: &fleetpb.Command{}}}
		case loop.Event(loop.Led{Term: 2}):
			return []loop.Effect{loop.Propose{Token: 3, Command: &fleetpb.Command{}}}
		}
		return nil
	})
	r.lead(1)
	r.eventually(func() bool { return calls.Load() == 1 }, "the first is under way")
	r.lead(2)
	close(gate)
	r.eventually(func() bool { return r.core.count(is[loop.Proposed]) == 1 }, "answered")
	require.Equal(t, 1, r.core.count(func(e loop.Event) bool { p, ok := e.(loop.Proposed); return ok && p.Token == 3 }))
	require.Equal(t, int32(2), calls.Load(), "what only waited is dropped")
}

func TestMetrics(t *testing.T) {
	r := newRig(t)
	r.leader.Store("other:1")
	r.eventually(func() bool { return r.metric("drummer_leader_known") == 1 }, "the leader is known")
	require.Zero(t, r.metric("drummer_leading"))
	r.lead(1)
	require.Equal(t, 1, r.metric("drummer_leading"))
	r.eventually(func() bool { return r.metric("drummer_passes_total") > 0 && r.metric("drummer_pass_seconds") > 0 }, "passes")
}
