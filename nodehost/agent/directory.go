package agent

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"go.etcd.io/bbolt"
	"google.golang.org/protobuf/proto"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
)

// Place of the directory in the host's database; on disk, do not rename. Values
// are JSON with a version.
const (
	bucketDirectory  = "directory"
	bucketHosts      = "hosts"
	keyDrummers      = "drummers"
	keyFleet         = "fleet"
	keyIncarnation   = "incarnation"
	directoryVersion = 1
)

// Entry is what the directory knows of a host.
type Entry struct {
	ID        ids.Host `json:"id"`
	Name      string   `json:"name"`
	Region    string   `json:"region"`
	API       string   `json:"api"`
	BootEpoch uint64   `json:"boot_epoch"`
	Gossip    string   `json:"gossip,omitempty"`
}

type stored[T any] struct {
	Version int `json:"v"`
	Value   T   `json:"value"`
}

// directory is the hosts and drummers that supervisors told of, kept on disk.
type directory struct {
	db *bbolt.DB

	mu       sync.RWMutex
	hosts    map[ids.Host]Entry
	drummers []string
	fleet    string
	// incarnation is the highest of the fleet's record that was attended.
	incarnation uint64
}

// openDirectory reads what is on disk. It is a hint: what does not decode is
// forgotten, and learnt again from the next drummer.
func openDirectory(db *bbolt.DB) (*directory, error) {
	d := &directory{db: db, hosts: make(map[ids.Host]Entry)}
	err := db.View(func(tx *bbolt.Tx) error {
		root := tx.Bucket([]byte(bucketDirectory))
		if root == nil {
			return nil
		}
		if v, ok := unpack[[]string](root.Get([]byte(keyDrummers))); ok {
			d.drummers = v
		}
		d.fleet, _ = unpack[string](root.Get([]byte(keyFleet)))
		d.incarnation, _ = unpack[uint64](root.Get([]byte(keyIncarnation)))
		hosts := root.Bucket([]byte(bucketHosts))
		if hosts == nil {
			return nil
		}
		return hosts.ForEach(func(_, raw []byte) error {
			if e, ok := unpack[Entry](raw); ok {
				d.hosts[e.ID] = e
			}
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("directory: read: %w", err)
	}
	return d, nil
}

func unpack[T any](raw []byte) (T, bool) {
	var s stored[T]
	err := json.Unmarshal(raw, &s)
	return s.Value, err == nil && s.Version == directoryVersion
}

// learn takes addresses in and writes what is new, in one transaction.
func (d *directory) learn(m *drummerpb.Addresses) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var fresh []Entry
	for _, h := range m.GetHosts() {
		e := Entry{ids.Host(h.GetId()), h.GetName(), h.GetRegion(), h.GetApi(), h.GetBootEpoch(), h.GetGossip()}
		old, known := d.hosts[e.ID]
		if e.ID == "" || known && (old == e || e.BootEpoch < old.BootEpoch) {
			continue
		}
		d.hosts[e.ID] = e
		fresh = append(fresh, e)
	}
	drummers := m.GetDrummers()
	if len(drummers) == 0 || slices.Equal(drummers, d.drummers) {
		drummers = nil
	} else {
		d.drummers = slices.Clone(drummers)
	}
	if len(fresh) == 0 && drummers == nil {
		return nil
	}
	return d.write(fresh, drummers)
}

func (d *directory) write(hosts []Entry, drummers []string) error {
	err := d.db.Update(func(tx *bbolt.Tx) error {
		root, err := tx.CreateBucketIfNotExists([]byte(bucketDirectory))
		if err != nil {
			return err
		}
		into, err := root.CreateBucketIfNotExists([]byte(bucketHosts))
		if err != nil {
			return err
		}
		for _, e := range hosts {
			if err := pack(into, string(e.ID), e); err != nil {
				return err
			}
		}
		if drummers == nil {
			return nil
		}
		return pack(root, keyDrummers, drummers)
	})
	if err != nil {
		return fmt.Errorf("directory: write: %w", err)
	}
	return nil
}

// attended is the fleet that this host belongs to; empty before its first welcome.
func (d *directory) attended() string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.fleet
}

// attend makes the host belong to the fleet of its first welcome, for ever. Orders of
// another fleet would speak of other groups under the same numbers.
// Nor does it go back to a record that was succeeded by one of a higher incarnation: its
// drummers were given up, and came back.
func (d *directory) attend(fleet string, incarnation uint64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case incarnation < d.incarnation:
		return fault.New(fault.Unavailable, "this host has attended incarnation %d of the record, the drummer keeps incarnation %d: another group of drummers has taken its place; stop it",
			d.incarnation, incarnation)
	case d.fleet == fleet && d.incarnation == incarnation:
		return nil
	case d.fleet == fleet, d.fleet == "":
	default:
		return fault.New(fault.Unavailable, "this host belongs to fleet %s, the drummer keeps the record of fleet %s", d.fleet, fleet)
	}
	err := d.db.Update(func(tx *bbolt.Tx) error {
		root, err := tx.CreateBucketIfNotExists([]byte(bucketDirectory))
		if err != nil {
			return err
		}
		return errors.Join(pack(root, keyFleet, fleet), pack(root, keyIncarnation, incarnation))
	})
	if err != nil {
		return fmt.Errorf("directory: write the fleet: %w", err)
	}
	d.fleet, d.incarnation = fleet, incarnation
	return nil
}

func pack[T any](b *bbolt.Bucket, key string, v T) error {
	raw, err := json.Marshal(stored[T]{directoryVersion, v})
	if err != nil {
		return err
	}
	return b.Put([]byte(key), raw)
}

func (d *directory) learnt() []string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return slices.Clone(d.drummers)
}

// Incarnation is the highest of the fleet's record that this host has attended.
func (a *Agent) Incarnation() uint64 {
	a.dir.mu.RLock()
	defer a.dir.mu.RUnlock()
	return a.dir.incarnation
}

// Self is what this host says of itself.
func (a *Agent) Self() *fleetpb.Host {
	self := proto.CloneOf(a.o.Self)
	self.Age = a.age()
	return self
}

// Fleet is the fleet that this host attends; empty before its first welcome.
func (a *Agent) Fleet() string { return a.dir.attended() }

// API returns the gRPC address of a host, as a drummer last told it.
func (a *Agent) API(h ids.Host) (string, bool) {
	a.dir.mu.RLock()
	defer a.dir.mu.RUnlock()
	e, ok := a.dir.hosts[h]
	return e.API, ok && e.API != ""
}

// Hosts lists the directory by name.
func (a *Agent) Hosts() []Entry {
	a.dir.mu.RLock()
	defer a.dir.mu.RUnlock()
	all := make([]Entry, 0, len(a.dir.hosts))
	for _, e := range a.dir.hosts {
		all = append(all, e)
	}
	slices.SortFunc(all, func(x, y Entry) int { return cmp.Or(cmp.Compare(x.Name, y.Name), cmp.Compare(x.ID, y.ID)) })
	return all
}
