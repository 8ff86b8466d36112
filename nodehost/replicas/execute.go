package replicas

import (
	"context"
	"time"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft"
	"github.com/drumline/drumline/nodehost/replicas/life"
)

// start runs on the start crew. A replica that has run before gets no members to
// launch with: if its Raft data is gone it must fail, not vote again from nothing.
func (k *Keeper) start(ctx context.Context, f Start) {
	r := f.Record
	ctx, cancel := context.WithTimeout(ctx, k.o.StartTimeout)
	defer cancel()
	replica := raft.Replica{
		Group: r.Group, ID: r.Replica, Name: r.FullName(), Join: r.Join, Restart: r.Life == life.Running || r.Life == life.Retiring,
		Banned: r.Life == life.Retiring, Unloaded: r.Unloaded && r.Life != life.Retiring, Settings: r.Raft,
	}
	if r.Life == life.Starting && !r.Join {
		replica.Members = r.Members
	}
	begun := time.Now()
	var err error
	if f.Again {
		err = k.o.Raft.Stop(ctx, r.Group)
	}
	if err == nil {
		err = k.o.Raft.Start(ctx, replica)
	}
	if err != nil {
		k.o.Log.Warn("replica does not start", "group", r.FullName(), "replica", r.Key(), "err", err)
	} else {
		k.o.Log.Debug("replica started", "group", r.FullName(), "replica", r.Key(), "took", time.Since(begun))
	}
	k.post(Started{r.Key(), textOf(err)})
	if s, ok := k.o.Raft.Status(r.Group); err == nil && ok && s.Replica == r.Replica && s.Ready {
		k.post(Up{r.Key()}) // it was up already, or came up before the event was taken
	}
}

func (k *Keeper) destroy(ctx context.Context, key Key) {
	ctx, cancel := context.WithTimeout(ctx, k.o.StartTimeout)
	defer cancel()
	err := k.o.Raft.Destroy(ctx, key.Group, key.Replica)
	if err == nil {
		err = k.o.States.Forget(key.Group)
	}
	if err != nil {
		k.o.Log.Warn("replica is not destroyed", "replica", key, "err", err)
	} else {
		k.o.Log.Info("replica destroyed", "replica", key)
	}
	k.post(Destroyed{key, textOf(err)})
}

func textOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// execute has raft carry an order out that was taken at a moment, and turns the end into a
// result. A change of the membership may not begin later than it may end: a process that stood
// still in between would make one that nobody wants any more.
func (k *Keeper) execute(ctx context.Context, e Execute, taken time.Time) {
	end := time.Now().Add(k.o.OrderTimeout)
	switch {
	case e.Order.GetLoad() != nil:
		end = time.Now().Add(k.o.LoadTimeout)
	case e.Order.GetChange() != nil:
		end = taken.Add(k.o.OrderTimeout)
	}
	ctx, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	m, err := k.carryOut(ctx, e.Order)
	result := &drummerpb.OrderResult{Order: e.Order.GetId(), Ok: err == nil, Detail: textOf(err), Membership: m}
	// a membership that changed meanwhile and input that breaks a rule stay so;
	// everything else may go better next time
	result.Refused = fault.Is(err, fault.Conflict) || fault.Is(err, fault.Invalid)
	k.post(Executed{e.Token, e.Order, result})
}

func (k *Keeper) carryOut(ctx context.Context, o *drummerpb.Order) (*drummerpb.Membership, error) {
	g := ids.Group(o.GetGroup())
	switch body := o.GetBody().(type) {
	case *drummerpb.Order_Open:
		return nil, k.o.Raft.OpenGroup(ctx, g, body.Open.GetVersion())
	case *drummerpb.Order_Seal:
		return nil, k.o.Raft.SealGroup(ctx, g)
	case *drummerpb.Order_Raise:
		return nil, k.o.Raft.RaiseVersion(ctx, g, body.Raise.GetVersion())
	case *drummerpb.Order_CatchUp:
		return nil, k.o.Raft.CatchUp(ctx, g)
	case *drummerpb.Order_Transfer:
		return nil, k.o.Raft.Transfer(ctx, g, ids.Replica(body.Transfer.GetTo()))
	case *drummerpb.Order_Change:
		return k.change(ctx, g, body.Change)
	case *drummerpb.Order_Load:
		return nil, k.o.States.Load(ctx, g, body.Load)
	}
	return nil, fault.New(fault.Invalid, "the order says nothing that this program understands")
}

// change makes the change, or only reads the membership; either way the answer
// carries a linearizable read, also of a change that was not to be.
func (k *Keeper) change(ctx context.Context, g ids.Group, c *drummerpb.Change) (*drummerpb.Membership, error) {
	kinds := map[drummerpb.ChangeKind]raft.ChangeKind{
		drummerpb.ChangeKind_CHANGE_KIND_ADD_OBSERVER: raft.AddObserver,
		drummerpb.ChangeKind_CHANGE_KIND_PROMOTE:      raft.Promote,
		drummerpb.ChangeKind_CHANGE_KIND_REMOVE:       raft.Remove,
	}
	kind, changes := kinds[c.GetKind()]
	if !changes {
		if c.GetKind() != drummerpb.ChangeKind_CHANGE_KIND_UNSPECIFIED {
			return nil, fault.New(fault.Invalid, "change %d is not known to this program", c.GetKind())
		}
		return k.membership(ctx, g)
	}
	m, err := k.o.Raft.Change(ctx, g, raft.Change{
		Kind: kind, Replica: ids.Replica(c.GetReplica()), Host: ids.Host(c.GetHostId()), ConfigChange: c.GetConfigChange(),
	})
	if err == nil {
		return membershipToWire(m), nil
	}
	now, readErr := k.membership(ctx, g)
	if readErr != nil {
		return nil, err
	}
	return now, err
}

func (k *Keeper) membership(ctx context.Context, g ids.Group) (*drummerpb.Membership, error) {
	m, err := k.o.Raft.Membership(ctx, g)
	if err != nil {
		return nil, err
	}
	return membershipToWire(m), nil
}

// membershipToWire makes the message of a membership.
func membershipToWire(m raft.Membership) *drummerpb.Membership {
	hosts := func(in map[ids.Replica]ids.Host) map[uint64]string {
		out := make(map[uint64]string, len(in))
		for r, h := range in {
			out[uint64(r)] = string(h)
		}
		return out
	}
	w := &drummerpb.Membership{ConfigChange: m.ConfigChange, Voters: hosts(m.Voters), Observers: hosts(m.Observers)}
	for _, r := range m.Removed {
		w.Removed = append(w.Removed, uint64(r))
	}
	return w
}
