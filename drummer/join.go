package drummer

import (
	"context"
	"fmt"

	"google.golang.org/grpc"

	"github.com/drumline/drumline/drummer/formation"
	"github.com/drumline/drumline/drummer/members"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft"
)

// A drummer is a founder, which formed the group with the others, or joined them later. A
// founder's number is its index; the number of one that joined is on its disk. A drummer
// whose configuration says join, but whose disk says that it is a founder, is a founder.

// openMembers finds out what this drummer is, as far as its disk tells.
func (d *drummer) openMembers() (err error) {
	conn := func(addr string) (grpc.ClientConnInterface, error) { return d.pool.Conn(addr) }
	formed, err := formation.Formed(d.dir.DB())
	if err != nil {
		return err
	}
	if !d.cfg.Join || formed {
		if err := d.openFormation(conn); err != nil {
			return err
		}
	}
	self := &fleetpb.Drummer{
		HostId: string(d.dir.Host()), Name: d.cfg.Name, Region: d.cfg.Region, Api: d.ownAddress(), Raft: d.transport.Addr(),
	}
	if d.formation != nil {
		self.Number = uint64(d.cfg.Index)
	}
	d.members, err = members.New(members.Options{
		Deployment: d.cfg.Deployment, Self: self, BootEpoch: d.dir.BootEpoch(), Configured: d.cfg.Drummers,
		DB: d.dir.DB(), Learn: d.dir.Book().Learn, Conn: conn, Log: d.log,
	})
	return err
}

func (d *drummer) openFormation(conn func(string) (grpc.ClientConnInterface, error)) (err error) {
	if d.seed, err = findSeed(d.cfg.DataDir); err != nil {
		return err
	}
	d.formation, err = formation.New(formation.Options{
		Fleet:      d.seed.fleet(),
		Deployment: d.cfg.Deployment, Drummers: d.cfg.Drummers, DB: d.dir.DB(), Learn: d.dir.Book().Learn, Log: d.log,
		Self: formation.Identity{
			Index: d.cfg.Index, Host: d.dir.Host(), BootEpoch: d.dir.BootEpoch(),
			Raft: d.transport.Addr(), Name: d.cfg.Name, Region: d.cfg.Region,
		},
		Conn: conn,
	})
	return err
}

// ownAddress is the address that the others know this drummer by.
func (d *drummer) ownAddress() string {
	if d.cfg.Index == 0 {
		return d.server.APIAddr()
	}
	return d.cfg.Drummers[d.cfg.Index-1]
}

// agree waits until this drummer has its number, and returns the members that the group is
// formed with; nil on a drummer that joins.
func (d *drummer) agree(ctx context.Context) (formation.Members, error) {
	if d.formation == nil {
		var err error
		d.number, d.fleet, err = d.members.Await(ctx)
		return nil, err
	}
	founders, err := d.formation.Agree(ctx)
	if err != nil {
		return nil, err
	}
	d.number = uint64(d.cfg.Index)
	d.fleet, _ = d.formation.Fleet()
	return founders, nil
}

// seeded tells whether the group that this drummer founded goes on with another's record.
func (d *drummer) seeded() bool {
	if d.formation == nil {
		return false
	}
	_, seeded := d.formation.Fleet()
	return seeded
}

// founders are the drummers that the group was formed with, as far as they are known.
func (d *drummer) founders() []*fleetpb.Drummer {
	if d.formation == nil {
		return nil
	}
	known, _ := d.formation.Members()
	var list []*fleetpb.Drummer
	for index := range len(known) {
		if index >= len(d.cfg.Drummers) { // the list was made shorter since
			break
		}
		p := d.formation.Peer(index + 1)
		list = append(list, &fleetpb.Drummer{
			Number: uint64(p.Index), HostId: string(p.Host), Name: p.Name, Region: p.Region, Api: d.cfg.Drummers[index], Raft: p.Raft,
		})
	}
	return list
}

// startReplica starts the group's replica; with the first members only if it never
// was started on this directory, and without a vote if it joins.
func (d *drummer) startReplica(ctx context.Context, founders formation.Members) error {
	r := raft.Replica{Group: ids.DrummerGroup, ID: ids.Replica(d.number), Name: recordName}
	mark := d.members.MarkStarted
	if d.formation == nil {
		r.Join, r.Restart = true, d.members.Started()
	} else {
		started, err := d.formation.Started()
		if err != nil {
			return err
		}
		if r.Restart = started; !started {
			r.Members = make(map[ids.Replica]ids.Host, len(founders))
		}
		for index, host := range founders {
			if !started {
				r.Members[ids.Replica(index)] = host
			}
		}
		mark = d.formation.MarkStarted
	}
	h, _ := d.parts()
	if err := h.Start(ctx, r); err != nil {
		if r.Restart && fault.Is(err, fault.Conflict) {
			return fmt.Errorf("the Raft data of this drummer, which has run before, is gone or damaged, and it can't vote anew under its number: "+
				"put it back, or give the drummer an empty data directory, start it with --join and replace drummer %d by it: %w", d.number, err)
		}
		return fmt.Errorf("start the drummers' group: %w", err)
	}
	return mark()
}

// lateFormation answers drummers that want to form a group with one that joined another.
type lateFormation struct {
	drummerpb.UnimplementedFormationServer
}

// Form refuses.
func (lateFormation) Form(context.Context, *drummerpb.FormRequest) (*drummerpb.FormResponse, error) {
	return nil, fault.New(fault.Conflict, "this drummer joins, or has joined, a group that is formed already: start a new drummer with --join and add it with drummer-cmd servers add or servers replace")
}
