package client

import (
	"bytes"
	"context"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	hostpb "github.com/drumline/drumline/drummerpb/host"
)

// Session proposes commands to a group exactly once: a command whose answer was lost
// is sent again under the same number, and the group recognises it. A session has one
// command under way at a time; calls from several goroutines wait for each other.
//
// A group keeps the 4,096 sessions used last. One that was pushed out answers with
// the reason SESSION_GONE; open another.
type Session struct {
	g    *Group
	turn chan struct{} // holds one token; who has it owns all below

	s       *hostpb.Session
	pending []byte // command whose outcome is unknown, to be sent again
	open    bool   // pending is set (it may be empty)
	closed  bool
}

// Session opens a session with the group.
func (g *Group) Session(ctx context.Context) (*Session, error) {
	var resp *hostpb.OpenSessionResponse
	// A registration whose answer was lost leaves a session behind that nobody uses,
	// and that goes first when the group has too many: asking again does no harm.
	err := g.call(reads, func(ctx context.Context, conn *grpc.ClientConn, opts ...grpc.CallOption) (err error) {
		resp, err = hostpb.NewGroupsClient(conn).OpenSession(ctx, &hostpb.OpenSessionRequest{Group: g.ref}, opts...)
		return err
	}).do(ctx)
	if err != nil {
		return nil, err
	}
	if resp.GetSession().GetGroup() == 0 {
		return nil, failure(hostpb.Reason_REASON_INTERNAL, codes.Internal, "the server opened a session without naming its group")
	}
	s := &Session{g: g, s: resp.GetSession(), turn: make(chan struct{}, 1)}
	s.turn <- struct{}{}
	return s, nil
}

// Propose applies a command exactly once, however often it must be sent. When even so
// the deadline ends with the outcome unknown, the session remembers the command: Propose
// of the same bytes goes on with it (and still applies it once), any other command is
// refused with the reason CONFLICT until Abandon gives the first one up.
func (s *Session) Propose(ctx context.Context, cmd []byte) (Result, error) {
	if err := s.take(ctx); err != nil {
		return Result{}, err
	}
	defer s.give()
	if s.open && !bytes.Equal(s.pending, cmd) {
		return Result{}, failure(hostpb.Reason_REASON_CONFLICT, codes.FailedPrecondition,
			"the outcome of the session's previous command is still unknown: propose it again, or give it up with Abandon")
	}
	req := &hostpb.ProposeRequest{Group: s.ref(), Command: cmd, Session: proto.CloneOf(s.s)}
	res, err := s.g.propose(ctx, repeats, req)
	switch {
	case err == nil:
		s.advance()
	case OutcomeOf(err) == Unknown && !s.open:
		s.pending, s.open = bytes.Clone(cmd), true
	case s.open:
		// The command was of unknown outcome before this call, which cannot make it known.
		err = stillUnknown(err)
	}
	return res, err
}

// stillUnknown returns err with the outcome Unknown.
func stillUnknown(err error) error {
	var e *Error
	if errors.As(err, &e) {
		e.Outcome = Unknown
	}
	return err
}

// Abandon gives up a command whose outcome is unknown, so that the session can go on
// with another. Whether the command was applied stays unknown; once a later command of
// the session is acknowledged it can't be applied any more.
func (s *Session) Abandon(ctx context.Context) error {
	if err := s.take(ctx); err != nil {
		return err
	}
	defer s.give()
	if s.open {
		s.advance()
	}
	return nil
}

// advance goes on to the next number: the answer to the last one is known, or not wanted.
func (s *Session) advance() {
	s.s.RespondedTo = s.s.GetSeries()
	s.s.Series++
	s.pending, s.open = nil, false
}

// Close ends the session. Closing one that is gone already is no error.
func (s *Session) Close(ctx context.Context) error {
	if err := s.take(ctx); err != nil {
		if ReasonOf(err) == hostpb.Reason_REASON_SESSION_GONE {
			return nil
		}
		return err
	}
	defer s.give()
	req := &hostpb.CloseSessionRequest{Session: s.s}
	err := s.g.call(reads, func(ctx context.Context, conn *grpc.ClientConn, opts ...grpc.CallOption) error {
		_, err := hostpb.NewGroupsClient(conn).CloseSession(ctx, req, opts...)
		return err
	}).do(ctx)
	switch ReasonOf(err) {
	case hostpb.Reason_REASON_SESSION_GONE, hostpb.Reason_REASON_SEALED, hostpb.Reason_REASON_GROUP_NOT_FOUND:
		err = nil // gone is what was wanted
	}
	s.closed = err == nil
	return err
}

// ref names the session's group by its number: a new group of the same name does not
// know the session.
func (s *Session) ref() *hostpb.GroupRef { return &hostpb.GroupRef{Id: s.s.GetGroup()} }

// take waits for the session's turn; give passes it on.
func (s *Session) take(ctx context.Context) error {
	select {
	case <-s.turn:
	case <-ctx.Done():
		return ended(ctx, nil)
	}
	if s.closed {
		s.give()
		return failure(hostpb.Reason_REASON_SESSION_GONE, codes.FailedPrecondition, "the session is closed: open another")
	}
	return nil
}

// give passes the turn on.
func (s *Session) give() { s.turn <- struct{}{} }
