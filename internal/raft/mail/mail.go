// Package mail carries the calls of replicas that come back (package park) as Raft
// messages between hosts: a NoOP without a term, which dragonboat itself never sends,
// with what is said in its hints. A host of a program without this package takes one
// for a message that does nothing but end a replica's sleep.
package mail

import (
	"context"
	"time"

	"github.com/lni/dragonboat/v3/raftio"
	"github.com/lni/dragonboat/v3/raftpb"

	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft/park"
)

// Bits of a message's Hint; HintHigh is the leader. They travel: do not renumber.
const (
	wake = 1 << iota
	up
)

// Read takes a message for a call; false if it is none.
func Read(m *raftpb.Message) (park.Call, bool) {
	if m.Type != raftpb.NoOP || m.Term != 0 || m.Hint == 0 {
		return park.Call{}, false
	}
	return park.Call{
		Group: ids.Group(m.ClusterId), From: ids.Replica(m.From), To: ids.Replica(m.To),
		Wake: m.Hint&wake != 0, Up: m.Hint&up != 0, Leader: ids.Replica(m.HintHigh),
	}, true
}

// Rouses tells whether a message is reason to load a replica: answers to what it asked
// before it was unloaded are not, nor is news of the others' sleep.
func Rouses(m *raftpb.Message) bool {
	switch m.Type {
	case raftpb.Quiesce, raftpb.HeartbeatResp, raftpb.ReplicateResp, raftpb.RequestVoteResp, raftpb.ReadIndexResp,
		raftpb.SnapshotReceived, raftpb.RateLimit:
		return false
	case raftpb.NoOP:
		c, ok := Read(m)
		return ok && c.Wake
	}
	return true
}

// write makes the message of a call.
func write(c park.Call) raftpb.Message {
	m := raftpb.Message{
		Type: raftpb.NoOP, ClusterId: uint64(c.Group), From: uint64(c.From), To: uint64(c.To),
		HintHigh: uint64(c.Leader),
	}
	if c.Wake {
		m.Hint |= wake
	}
	if c.Up {
		m.Hint |= up
	}
	return m
}

const (
	// sheet bounds the calls in one frame.
	sheet = 1024
	// forget is after how long an unused connection is closed.
	forget = time.Minute
)

// Office sends calls through a host's transport. It belongs to one goroutine.
type Office struct {
	// Deployment and Self are what peers know this host by.
	Deployment uint64
	Self       ids.Host
	Transport  raftio.ITransport

	lines map[ids.Host]*line
}

type line struct {
	conn raftio.IConnection
	used time.Time
}

// Send sends calls to a host. What cannot be sent is lost, as any message may be.
func (o *Office) Send(ctx context.Context, to ids.Host, calls []park.Call) {
	o.tidy()
	l := o.line(ctx, to)
	for l != nil && len(calls) > 0 {
		n := min(sheet, len(calls))
		b := raftpb.MessageBatch{
			DeploymentId: o.Deployment, SourceAddress: string(o.Self), BinVer: raftio.TransportBinVersion,
			Requests: make([]raftpb.Message, n),
		}
		for i, c := range calls[:n] {
			b.Requests[i] = write(c)
		}
		calls = calls[n:]
		if l.conn.SendMessageBatch(b) != nil {
			return
		}
	}
}

// line is the connection to a host; nil if there can be none.
func (o *Office) line(ctx context.Context, to ids.Host) *line {
	l := o.lines[to]
	if l == nil {
		conn, err := o.Transport.GetConnection(ctx, string(to))
		if err != nil {
			return nil
		}
		if o.lines == nil {
			o.lines = make(map[ids.Host]*line)
		}
		l = &line{conn: conn}
		o.lines[to] = l
	}
	l.used = time.Now()
	return l
}

// tidy closes what has not been used for long: the host may have left.
func (o *Office) tidy() {
	for to, l := range o.lines {
		if time.Since(l.used) > forget {
			l.conn.Close()
			delete(o.lines, to)
		}
	}
}

// Close ends all connections.
func (o *Office) Close() {
	for to, l := range o.lines {
		l.conn.Close()
		delete(o.lines, to)
	}
}
