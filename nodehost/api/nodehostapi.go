package api

import (
	"context"
	"errors"
	"math"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	hostpb "github.com/drumline/drumline/drummerpb/host"
	multiraftpb "github.com/drumline/drumline/drummerpb/multiraft"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/serve"
)

// Special numbers of a v2 session; programs in the field have them compiled in.
const (
	// noClient is no client.
	noClient = 0
	// noSeries marks a session without exactly-once: a no-op session.
	noSeries = 0
	// seriesRegister and seriesUnregister are no proposals; a program may have
	// prepared its session for closing with the latter.
	seriesRegister   = math.MaxUint64 - 1
	seriesUnregister = math.MaxUint64
)

// nodehostAPI serves NodehostAPI of Drummer v2. Its clients know groups by number
// alone, tell errors by their code alone, and decode proto2: every field of an answer
// is set.
type nodehostAPI struct {
	multiraftpb.UnimplementedNodehostAPIServer
	router Router
}

// GetSession registers a client session.
func (n *nodehostAPI) GetSession(ctx context.Context, req *multiraftpb.SessionRequest) (*multiraftpb.Session, error) {
	group, err := numbered(req.GetClusterId())
	if err != nil {
		return nil, v2Error(err)
	}
	resp, err := n.router.OpenSession(ctx, &hostpb.OpenSessionRequest{Group: group})
	if err != nil {
		return nil, v2Error(err)
	}
	s := resp.GetSession()
	return &multiraftpb.Session{
		ClusterID: new(s.GetGroup()), ClientID: new(s.GetClient()), SeriesID: new(s.GetSeries()), RespondedTo: new(s.GetRespondedTo()),
	}, nil
}

// CloseSession ends a session.
func (n *nodehostAPI) CloseSession(ctx context.Context, req *multiraftpb.Session) (*multiraftpb.SessionResponse, error) {
	if _, err := numbered(req.GetClusterID()); err != nil {
		return nil, v2Error(err)
	}
	if req.GetClientID() == noClient || req.GetSeriesID() == noSeries {
		return nil, v2Error(fault.New(fault.Invalid, "a no-op session was never opened and can't be closed"))
	}
	// Which series the session has come to does not matter for its end, and the
	// program may have prepared it with the special one: send one that is sound.
	s := &hostpb.Session{Group: req.GetClusterID(), Client: req.GetClientID(), Series: 1}
	if _, err := n.router.CloseSession(ctx, &hostpb.CloseSessionRequest{Session: s}); err != nil {
		return nil, v2Error(err)
	}
	return &multiraftpb.SessionResponse{Completed: new(true)}, nil
}

// Propose applies a command: exactly once under a session that was opened, and as any
// other proposal under a no-op session.
func (n *nodehostAPI) Propose(ctx context.Context, req *multiraftpb.RaftProposal) (*multiraftpb.RaftResponse, error) {
	session, err := sessionOf(req.GetSession())
	if err != nil {
		return nil, v2Error(err)
	}
	group, err := numbered(req.GetSession().GetClusterID())
	if err != nil {
		return nil, v2Error(err)
	}
	resp, err := n.router.Propose(ctx, &hostpb.ProposeRequest{Group: group, Command: req.GetData(), Session: session})
	if err != nil {
		return nil, v2Error(err)
	}
	return &multiraftpb.RaftResponse{Result: new(resp.GetValue()), Data: filled(resp.GetData())}, nil
}

// Read answers a query linearizably.
func (n *nodehostAPI) Read(ctx context.Context, req *multiraftpb.RaftReadIndex) (*multiraftpb.RaftResponse, error) {
	group, err := numbered(req.GetClusterId())
	if err != nil {
		return nil, v2Error(err)
	}
	resp, err := n.router.Read(ctx, &hostpb.ReadRequest{Group: group, Query: req.GetData()})
	if err != nil {
		return nil, v2Error(err)
	}
	return &multiraftpb.RaftResponse{Result: new(uint64(0)), Data: filled(resp.GetData())}, nil
}

// filled makes an absent proto2 field a present, empty one.
func filled(data []byte) []byte {
	if data == nil {
		return []byte{}
	}
	return data
}

// numbered names a group by its number.
func numbered(id uint64) (*hostpb.GroupRef, error) {
	if id == 0 {
		return nil, fault.New(fault.Invalid, "the request names no group: cluster ids begin at 1")
	}
	return &hostpb.GroupRef{Id: id}, nil
}

// sessionOf checks a v2 session by the rules that dragonboat would panic on; nil, nil
// for a no-op session.
func sessionOf(s *multiraftpb.Session) (*hostpb.Session, error) {
	switch {
	case s == nil:
		return nil, fault.New(fault.Invalid, "a proposal needs a session: get one with GetSession, or send a no-op session")
	case s.GetClientID() == noClient:
		return nil, fault.New(fault.Invalid, "the session has no client id")
	case s.GetSeriesID() == noSeries:
		return nil, nil //nolint:nilnil // a no-op session is an ordinary proposal
	case s.GetSeriesID() == seriesRegister, s.GetSeriesID() == seriesUnregister:
		return nil, fault.New(fault.Invalid, "the session is prepared for being opened or closed, not for a proposal")
	case s.GetRespondedTo() >= s.GetSeriesID():
		return nil, fault.New(fault.Invalid, "the session's series %d is answered already, by its responded-to of %d", s.GetSeriesID(), s.GetRespondedTo())
	}
	return &hostpb.Session{Group: s.GetClusterID(), Client: s.GetClientID(), Series: s.GetSeriesID(), RespondedTo: s.GetRespondedTo()}, nil
}

// v2Error gives an error the code that the original gives it. Sentence and ErrorInfo
// stay: programs in the field do not look at them.
func v2Error(err error) error {
	st := serve.Status(err)
	f := fault.Of(err)
	if f == nil {
		return st.Err()
	}
	p := st.Proto()
	p.Code = int32(v2Code(f))
	return status.FromProto(p).Err()
}

// v2Code is the original's code for a fault: a wrong argument, a wait that ended, no
// such group, anything that passes. A session that was evicted counts as invalid.
func v2Code(f *fault.Error) codes.Code {
	switch f.Reason {
	case fault.Invalid, fault.TooLarge, fault.SessionGone:
		return codes.InvalidArgument
	case fault.Busy, fault.Unavailable, fault.NotLeader, fault.NoQuorum, fault.NotOpen, fault.NotSupervisor:
		return codes.Unavailable
	case fault.GroupNotFound, fault.Sealed:
		return codes.NotFound
	case fault.UnknownOutcome, fault.Deadline:
		if errors.Is(f, context.Canceled) || status.Code(f.Cause) == codes.Canceled {
			return codes.Canceled
		}
		return codes.DeadlineExceeded
	default:
		return codes.Unknown
	}
}
