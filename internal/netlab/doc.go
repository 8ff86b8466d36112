// Package netlab is a network on one machine whose links can be cut, in one direction or
// both, slowed down and made to lose packets, for real processes that know nothing of it.
//
// Each node has a network namespace of its own, with an address of its own on a TUN
// device. A switch in this process carries packets between them, link by link as Set
// says. Nothing is seen outside: the process itself must be in a namespace of its own
// (Enter), and all is gone when it ends, however it does.
//
//	func TestPartitions(t *testing.T) {
//		if !netlab.Inside() {
//			out, err := netlab.Enter("-test.run=^TestPartitions$") // runs this program again, inside
//			...
//		}
//		net, err := netlab.New("a", "b")
//		defer net.Close()
//		err = net.In("a", cmd.Start)
//		net.Set("a", "b", netlab.Link{Cut: true})
//	}
//
// It needs Linux, /dev/net/tun, and root or unprivileged user namespaces.
package netlab
