package engine

import "github.com/lni/dragonboat/v3/raftio"

// Quiet takes no interest in dragonboat's system events; to be embedded by who wants
// some of them.
type Quiet struct{}

var _ raftio.ISystemEventListener = Quiet{}

// NodeHostShuttingDown does nothing, like all that follow.
func (Quiet) NodeHostShuttingDown() {}

// NodeUnloaded does nothing.
func (Quiet) NodeUnloaded(raftio.NodeInfo) {}

// NodeReady does nothing.
func (Quiet) NodeReady(raftio.NodeInfo) {}

// MembershipChanged does nothing.
func (Quiet) MembershipChanged(raftio.NodeInfo) {}

// ConnectionEstablished does nothing.
func (Quiet) ConnectionEstablished(raftio.ConnectionInfo) {}

// ConnectionFailed does nothing.
func (Quiet) ConnectionFailed(raftio.ConnectionInfo) {}

// SendSnapshotStarted does nothing.
func (Quiet) SendSnapshotStarted(raftio.SnapshotInfo) {}

// SendSnapshotCompleted does nothing.
func (Quiet) SendSnapshotCompleted(raftio.SnapshotInfo) {}

// SendSnapshotAborted does nothing.
func (Quiet) SendSnapshotAborted(raftio.SnapshotInfo) {}

// SnapshotReceived does nothing.
func (Quiet) SnapshotReceived(raftio.SnapshotInfo) {}

// SnapshotRecovered does nothing.
func (Quiet) SnapshotRecovered(raftio.SnapshotInfo) {}

// SnapshotCreated does nothing.
func (Quiet) SnapshotCreated(raftio.SnapshotInfo) {}

// SnapshotCompacted does nothing.
func (Quiet) SnapshotCompacted(raftio.SnapshotInfo) {}

// LogCompacted does nothing.
func (Quiet) LogCompacted(raftio.EntryInfo) {}

// LogDBCompacted does nothing.
func (Quiet) LogDBCompacted(raftio.EntryInfo) {}
