// Package rawcall proposes to and reads from a group in raw bytes, over Drummer v2's
// service of a nodehost.
package rawcall

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/config"
	multiraftpb "github.com/drumline/drumline/drummerpb/multiraft"
)

// Bounds of the wait for one nodehost of several, and of that before a repetition.
const (
	dialTimeout = 2 * time.Second
	pollEvery   = 300 * time.Millisecond
)

// Conn is a connection to one nodehost's NodehostAPI, which forwards to whoever leads the
// group. That service knows groups by number alone.
type Conn struct {
	// Group is the group's number.
	Group uint64
	conn  *grpc.ClientConn
	api   multiraftpb.NodehostAPIClient
}

// Dial returns only a connection that is made: a proposal that never left is then never in
// doubt. The caller closes it.
func Dial(ctx context.Context, address string, group uint64, certificates config.TLS) (*Conn, error) {
	conn, err := dial(ctx, address, certificates)
	if err != nil {
		return nil, err
	}
	return &Conn{Group: group, conn: conn, api: multiraftpb.NewNodehostAPIClient(conn)}, nil
}

// Close closes it.
func (r *Conn) Close() { _ = r.conn.Close() } // nothing is under way any more

// Read reads from the group.
func (r *Conn) Read(ctx context.Context, query []byte) (*multiraftpb.RaftResponse, error) {
	return r.api.Read(ctx, &multiraftpb.RaftReadIndex{ClusterId: &r.Group, Data: query})
}

func dial(ctx context.Context, address string, certificates config.TLS) (*grpc.ClientConn, error) {
	creds := insecure.NewCredentials()
	secure, err := certificates.Client()
	if err != nil {
		return nil, err
	}
	if secure != nil {
		creds = credentials.NewTLS(secure)
	}
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(creds))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn.Connect()
	for state := conn.GetState(); state != connectivity.Ready; state = conn.GetState() {
		if state == connectivity.TransientFailure || !conn.WaitForStateChange(ctx, state) {
			return nil, errors.Join(fmt.Errorf("%s does not answer", address), conn.Close())
		}
	}
	return conn, nil
}

// Propose proposes once; under a session as often as it takes.
func (r *Conn) Propose(ctx context.Context, data []byte, exactlyOnce bool) (*multiraftpb.RaftResponse, error) {
	if !exactlyOnce {
		// A session without a series is the service's way of saying "no session".
		return r.send(ctx, &multiraftpb.Session{ClusterID: &r.Group, ClientID: proto.Uint64(1 + rand.Uint64N(1<<62)), SeriesID: proto.Uint64(0)}, data)
	}
	session, err := r.api.GetSession(ctx, &multiraftpb.SessionRequest{ClusterId: &r.Group})
	if err != nil {
		return nil, err
	}
	resp, err := r.send(ctx, session, data)
	for mayRepeat(ctx, err) && sleep(ctx) {
		resp, err = r.send(ctx, session, data)
	}
	if err == nil {
		// The command is applied; a session that is not closed is evicted some day.
		_, _ = r.api.CloseSession(ctx, session)
	}
	return resp, err
}

func (r *Conn) send(ctx context.Context, s *multiraftpb.Session, data []byte) (*multiraftpb.RaftResponse, error) {
	return r.api.Propose(ctx, &multiraftpb.RaftProposal{Session: s, Data: data})
}

func mayRepeat(ctx context.Context, err error) bool {
	if err == nil || ctx.Err() != nil {
		return false
	}
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
		return true
	default:
		return false
	}
}

// sleep waits before a repetition, or returns false when ctx ends first.
func sleep(ctx context.Context) bool {
	timer := time.NewTimer(pollEvery)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
