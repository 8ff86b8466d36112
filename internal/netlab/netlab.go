//go:build linux

package netlab

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// insideVar tells a program that it runs in a namespace of its own.
const insideVar = "NETLAB_INSIDE"

// Here is the node of this process itself.
const Here = ""

// maxPacket is more than a TUN device's packets have.
const maxPacket = 1 << 16

// Link says how packets from one node to another fare. The zero value is a good one.
type Link struct {
	// Cut loses all packets.
	Cut bool
	// Loss is the share of packets that are lost, at random.
	Loss float64
	// Delay of each packet.
	Delay time.Duration
}

// Inside tells whether this process was started by Enter.
func Inside() bool { return os.Getenv(insideVar) != "" }

// Enter runs this program again in a network namespace of its own, with these arguments,
// and waits for it. What it says goes to this process' outputs. It dies with this process.
func Enter(args ...string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("enter a network namespace: %w", err)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), insideVar+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	}
	// The death signal is tied to the thread that starts the child.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("in a network namespace (it needs root, or user namespaces that anybody may make): %w", err)
	}
	return nil
}

// Net is the network. Its methods may be called from any goroutine.
type Net struct {
	nodes map[string]*node
	byIP  map[netip.Addr]*node
	work  sync.WaitGroup

	mu    sync.Mutex
	links map[[2]string]Link // guarded by mu
	over  bool               // guarded by mu
}

// node is one namespace and the other end of its only device.
type node struct {
	name  string
	ip    netip.Addr
	space *os.File
	tun   *os.File
}

// New makes a network of these nodes and of Here. The process must be Inside. The caller
// closes it.
func New(names ...string) (*Net, error) {
	if !Inside() {
		return nil, errors.New("a network needs a namespace around it: run the program by Enter")
	}
	n := &Net{nodes: map[string]*node{}, byIP: map[netip.Addr]*node{}, links: map[[2]string]Link{}}
	for i, name := range append([]string{Here}, names...) {
		x := &node{name: name, ip: netip.AddrFrom4([4]byte{10, 77, 0, byte(i + 1)})}
		if err := x.open(); err != nil {
			return nil, errors.Join(fmt.Errorf("node %q of the network: %w", name, err), n.Close())
		}
		n.nodes[name], n.byIP[x.ip] = x, x
	}
	for _, x := range n.nodes {
		n.work.Go(func() { n.carry(x) })
	}
	return n, nil
}

// Address of a node, for all nodes.
func (n *Net) Address(name string) string {
	if x := n.nodes[name]; x != nil {
		return x.ip.String()
	}
	return ""
}

// In runs f on a thread that is in the node's namespace: processes that f starts are, too.
func (n *Net) In(name string, f func() error) error {
	x := n.nodes[name]
	if x == nil {
		return fmt.Errorf("there is no node %q", name)
	}
	return inside(x.space, f)
}

// Set sets how packets from one node to another fare from now on.
func (n *Net) Set(from, to string, l Link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.links[[2]string{from, to}] = l
}

// Both sets both directions.
func (n *Net) Both(a, b string, l Link) {
	n.Set(a, b, l)
	n.Set(b, a, l)
}

// Heal makes all links good.
func (n *Net) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.links)
}

// Close ends the network. Namespaces go with the last process in them.
func (n *Net) Close() error {
	n.mu.Lock()
	n.over = true
	n.mu.Unlock()
	var errs []error
	for _, x := range n.nodes {
		errs = append(errs, x.close())
	}
	n.work.Wait()
	return errors.Join(errs...)
}

// carry takes the packets that a node sends to where they go.
func (n *Net) carry(from *node) {
	buf := make([]byte, maxPacket)
	for {
		size, err := from.tun.Read(buf)
		if err != nil {
			return // closed
		}
		if size < 20 || buf[0]>>4 != 4 {
			continue // not of IP version 4
		}
		to := n.byIP[netip.AddrFrom4([4]byte(buf[16:20]))]
		if to == nil {
			continue
		}
		n.mu.Lock()
		link := n.links[[2]string{from.name, to.name}]
		n.mu.Unlock()
		switch {
		case link.Cut || (link.Loss > 0 && rand.Float64() < link.Loss):
		case link.Delay > 0:
			n.later(link.Delay, to, append([]byte(nil), buf[:size]...))
		default:
			_, _ = to.tun.Write(buf[:size]) // a packet that is lost is sent again
		}
	}
}

// later delivers a packet after a while.
func (n *Net) later(d time.Duration, to *node, packet []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.over {
		return
	}
	n.work.Add(1)
	time.AfterFunc(d, func() {
		defer n.work.Done()
		_, _ = to.tun.Write(packet) // as above
	})
}

// open makes the namespace, unless the node is Here, and the device in it.
func (x *node) open() error {
	made := make(chan error, 1)
	// The thread is not given back: it ends with the goroutine, in the namespace it is in.
	go func() {
		runtime.LockOSThread()
		if x.name == Here {
			defer runtime.UnlockOSThread()
		} else if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			made <- fmt.Errorf("make a namespace: %w", err)
			return
		}
		made <- x.settle()
	}()
	return <-made
}

// settle keeps the namespace of this thread and puts the device into it.
func (x *node) settle() (err error) {
	if x.space, err = os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid())); err != nil {
		return err
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open /dev/net/tun: %w", err)
	}
	dev, err := unix.NewIfreq("net0")
	if err != nil {
		return errors.Join(err, unix.Close(fd))
	}
	dev.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, dev); err != nil {
		return errors.Join(fmt.Errorf("make a TUN device: %w", err), unix.Close(fd))
	}
	x.tun = os.NewFile(uintptr(fd), "/dev/net/tun") // after TUNSETIFF, or it could not be waited for
	return errors.Join(up("lo", netip.Addr{}), up("net0", x.ip))
}

// up gives a device of this thread's namespace an address, in a net of 256, and sets it up.
func up(device string, ip netip.Addr) error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(s) }() // it was only asked
	ask := func(what uint, fill func(*unix.Ifreq) error) error {
		r, err := unix.NewIfreq(device)
		if err == nil {
			err = fill(r)
		}
		if err == nil {
			err = unix.IoctlIfreq(s, what, r)
		}
		if err != nil {
			return fmt.Errorf("set up %s: %w", device, err)
		}
		return nil
	}
	if ip.IsValid() {
		a := ip.As4()
		err := errors.Join(
			ask(unix.SIOCSIFADDR, func(r *unix.Ifreq) error { return r.SetInet4Addr(a[:]) }),
			ask(unix.SIOCSIFNETMASK, func(r *unix.Ifreq) error { return r.SetInet4Addr([]byte{255, 255, 255, 0}) }))
		if err != nil {
			return err
		}
	}
	return ask(unix.SIOCSIFFLAGS, func(r *unix.Ifreq) error {
		r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
		return nil
	})
}

// inside runs f in a namespace, on this goroutine and the thread that it is on. A thread
// that can't come back is not used again: it ends with the goroutine's lock on it.
func inside(space *os.File, f func() error) error {
	runtime.LockOSThread()
	home, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("keep the way back: %w", err)
	}
	defer home.Close() //nolint:errcheck // it was only looked at
	if err := unix.Setns(int(space.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("go into a namespace: %w", err)
	}
	err = f()
	if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
		return errors.Join(err, fmt.Errorf("come back from a namespace: %w", back))
	}
	runtime.UnlockOSThread()
	return err
}

func (x *node) close() error {
	var errs []error
	for _, f := range []*os.File{x.tun, x.space} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}
