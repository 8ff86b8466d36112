// Package transport carries Raft between hosts: a raftio.ITransport over TCP, or
// mutual TLS, that knows hosts by their ids.
//
//	t, err := transport.New(transport.Options{Host: dir.Host(), BootEpoch: dir.BootEpoch(), Book: dir.Book(), ...})
//	config.Expert.TransportFactory = t.Factory()
//	nh, err := dragonboat.NewNodeHost(config)  // RaftAddress is the host's id
//	t.Ready()                                  // only now Raft comes in
//	nh.Stop()                                  // closes the transport; Close again does no harm
//
// # Design
//
// Purpose. Dragonboat's own transport dies of 20 bytes from a stranger, of too few
// file descriptors and of an early message, is held up by silent connections, and
// binds a replica to an IP address. This one takes none of it in, and a host may move.
//
// Invariants.
//   - Nothing that comes from the network ends the process: all lengths are bounded
//     before memory is made for them, decoders are guarded, and what dragonboat
//     panics on is dropped before it gets there (decode.go).
//   - Nothing is handed to Raft before Ready, and nothing after Close has returned.
//   - A batch reaches Raft only from the host that it says it is from.
//   - Messages may be lost, doubled or overtaken, never changed, and never held by a
//     peer that is away: GetConnection and SendMessageBatch do not fail because of one.
//
// Who a host is. A handshake each way (handshake.go) tells protocol version,
// deployment, host id, boot epoch, a nonce of the process and the address where the
// host can be dialed; the dialer names the host that it wants. Refused, with a text
// that is logged on both sides: another deployment; a host that is not the one wanted
// (its old address is somebody else's now); this host's own id; a boot epoch older
// than the highest known (an old copy of a disk); and, while a process of an id is
// alive, every other process of that id (a copied disk), also with a higher epoch.
// Alive is what has an open connection, in either direction, on which something came
// in within two KeepAlives. So a host that starts again is let in at once when its
// machine closed the old connections, else within two KeepAlives; they are closed then.
// Both sides write what they learned into the Book before the connection stands, and
// nothing of who was refused. With TLS the certificate says that a peer belongs to the
// cluster, the handshake says who it is.
//
// Finding a host. The address is looked up at every attempt to connect, so news from
// Drummer count at once. A host that comes back elsewhere announces itself at Ready
// to all hosts in its Book, and a handshake from a host wakes the dialer to it.
//
// Flow. One connection per peer and direction carries the messages of all groups:
// dragonboat's streams encode a batch, and whoever does writes it if it is small and
// nothing waits before it: to wake a goroutine would cost as much again. All else goes
// into the peer's queue, where one goroutine writes what is there with few system calls. A slow peer makes senders wait, so that dragonboat's
// queues see it; for a peer that is away only the newest is kept. What a busy group's
// next entry says anyway, that the last one is committed, waits for that entry (hold/),
// a twentieth of a second at most. Pings every
// KeepAlive find a peer that is gone without a word. A snapshot has a connection of
// its own, whose end the receiver confirms.
//
// Signs of life. Hosts that are attended hear of each other at the interval of
// Heartbeat, by the same pings; Signs tells when a host was heard, and of which process
// it is (signs.go). What to make of it is the asker's.
//
// Failures.
//
//	peer away or unknown     dialed again after 20 to 500 ms; messages dropped, counted
//	snapshot not delivered   counted, logged, not told to dragonboat: its breaker would
//	                         hold back every group's messages (see snapshotConn)
//	no file descriptors      accepting goes on when there are some
//	idle or garbage strangers  64 handshakes at a time, 5 s each; a new one ends the oldest
//	peer with a broken encoder loses its connection; it is counted
//	the Book can't be written  logged; the epochs seen still count until the end of the process
package transport
