package transport

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"time"

	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft/transport/faults"
)

// Options configure a Transport.
type Options struct {
	// Host is this host's id: its address in dragonboat's eyes.
	Host ids.Host
	// BootEpoch counts the host's starts; peers refuse an older one than they know.
	BootEpoch uint64
	// Deployment is the cluster's deployment text; other deployments are refused.
	Deployment string
	// Listen is the address to listen on; port 0 takes a free one.
	Listen string
	// Advertise is the address that peers are told; empty means the listener's.
	Advertise string
	// ServerTLS and ClientTLS switch mutual TLS on, both or none. Renewing
	// certificates is theirs (GetCertificate, GetClientCertificate).
	ServerTLS *tls.Config
	ClientTLS *tls.Config
	// Book tells where peers are and remembers what they say of themselves.
	Book Book
	// Hook is asked before everything that is sent; nil outside tests.
	Hook faults.Hook
	// KeepAlive is the interval of pings to a peer; one that answers none for five
	// of them is taken for dead and dialed again. 0 means 1 s.
	KeepAlive time.Duration
	// SnapshotRate bounds the bytes per second of all snapshots that are sent, so that
	// they leave room for messages; 0 is no bound.
	SnapshotRate int
	// MaxInbound bounds the accepted connections; 0 means 1024.
	MaxInbound int
	// Log may be nil.
	Log *slog.Logger
}

// Book knows the hosts' addresses. It is asked at every attempt to connect and told
// after every handshake, from several goroutines.
type Book interface {
	// Lookup returns the last known address of a host and the highest boot epoch
	// seen of it.
	Lookup(h ids.Host) (addr string, epoch uint64, ok bool)
	// Learn records what a host says of itself; an older epoch is ignored.
	Learn(h ids.Host, addr string, epoch uint64) error
}

// Defaults of Options.
const (
	defaultKeepAlive  = time.Second
	defaultMaxInbound = 1024
)

// withDefaults returns the options with every default filled in, or what is wrong.
func (o Options) withDefaults() (Options, error) {
	if o.KeepAlive <= 0 {
		o.KeepAlive = defaultKeepAlive
	}
	if o.MaxInbound <= 0 {
		o.MaxInbound = defaultMaxInbound
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o, o.check()
}

func (o Options) check() error {
	var problems []error
	if !validHost(string(o.Host)) {
		problems = append(problems, errors.New("transport: the host's id is empty or not plain text"))
	}
	if o.Deployment == "" || len(o.Deployment) > maxText {
		problems = append(problems, errors.New("transport: the deployment is empty or too long"))
	}
	if o.Listen == "" {
		problems = append(problems, errors.New("transport: no address to listen on"))
	}
	if o.Book == nil {
		problems = append(problems, errors.New("transport: no address book"))
	}
	if (o.ServerTLS == nil) != (o.ClientTLS == nil) {
		problems = append(problems, errors.New("transport: TLS for one direction only"))
	}
	return errors.Join(problems...)
}

// validHost tells whether an id can be an address in dragonboat: short, printable,
// no spaces.
func validHost(id string) bool {
	if id == "" || len(id) > maxText {
		return false
	}
	for _, c := range []byte(id) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return true
}

// maxText bounds every text in a handshake.
const maxText = 256
