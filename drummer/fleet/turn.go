package fleet

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/drummer/fleet/rules"
	"github.com/drumline/drumline/drummer/fleet/words"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/must"
	"github.com/drumline/drumline/statemachines"
)

// Bounds of the history.
const (
	keptOperations = 1_000
	keptEvents     = 10_000
)

// turn is the execution of one command. Each handler checks everything first and
// changes the state only after its last refusal.
type turn struct {
	*state
	at int64
	// version is the behaviour version in force.
	version uint32
}

// execute hands the command to its handler.
func (t *turn) execute(c *fleetpb.Command) *fleetpb.Result {
	switch op := c.GetOp().(type) {
	case *fleetpb.Command_SetPolicy:
		return t.setPolicy(op.SetPolicy)
	case *fleetpb.Command_CreateGroups:
		return t.createGroups(op.CreateGroups)
	case *fleetpb.Command_DeleteGroup:
		return t.deleteGroup(op.DeleteGroup)
	case *fleetpb.Command_RegisterHost:
		return t.registerHost(op.RegisterHost)
	case *fleetpb.Command_HostLost:
		return t.hostLost(op.HostLost)
	case *fleetpb.Command_Place:
		return t.place(op.Place)
	case *fleetpb.Command_Abandon:
		return t.abandon(op.Abandon)
	case *fleetpb.Command_ReplicasStarted:
		return t.replicasStarted(op.ReplicasStarted)
	case *fleetpb.Command_Advance:
		return t.advance(op.Advance)
	case *fleetpb.Command_AddReplica:
		return t.addReplica(op.AddReplica)
	case *fleetpb.Command_Membership:
		return t.membershipSeen(op.Membership)
	case *fleetpb.Command_Purged:
		return t.purged(op.Purged)
	case *fleetpb.Command_ApplyConfiguration:
		return t.applyConfiguration(op.ApplyConfiguration)
	case *fleetpb.Command_RollbackConfiguration:
		return t.rollbackConfiguration(op.RollbackConfiguration)
	case *fleetpb.Command_FirstUse:
		return t.firstUse(op.FirstUse)
	case *fleetpb.Command_LoadGroup:
		return t.loadGroup(op.LoadGroup)
	case *fleetpb.Command_PurgeRetired:
		return t.purgeRetired(op.PurgeRetired)
	default:
		return t.executeWish(c)
	}
}

// executeWish is execute of what people wish for hosts, groups and operations.
func (t *turn) executeWish(c *fleetpb.Command) *fleetpb.Result {
	switch op := c.GetOp().(type) {
	case *fleetpb.Command_SetHost:
		return t.setHost(op.SetHost)
	case *fleetpb.Command_HostEmptied:
		return t.hostEmptied(op.HostEmptied)
	case *fleetpb.Command_RemoveHost:
		return t.removeHost(op.RemoveHost)
	case *fleetpb.Command_ShapeGroups:
		return t.shapeGroups(op.ShapeGroups)
	case *fleetpb.Command_PreferLeader:
		return t.preferLeader(op.PreferLeader)
	case *fleetpb.Command_LeaderSeen:
		return t.leaderSeen(op.LeaderSeen)
	case *fleetpb.Command_CancelOperation:
		return t.cancelOperation(op.CancelOperation)
	case *fleetpb.Command_Pause:
		return t.pause(op.Pause)
	case *fleetpb.Command_SetBrake:
		return t.setBrake(op.SetBrake)
	case *fleetpb.Command_Tuned:
		return t.tuned(op.Tuned)
	default:
		return t.executeDrummers(c)
	}
}

// executeDrummers is execute of what is about the drummers themselves.
func (t *turn) executeDrummers(c *fleetpb.Command) *fleetpb.Result {
	list, result, events, known := t.drummers.Execute(c, t.version)
	if !known {
		return refuse(fleetpb.Code_CODE_INVALID, "the command says nothing that this version of the record knows")
	}
	t.drummers = list
	for _, e := range events {
		t.event(e.Kind, "", "", "%s", e.Text)
	}
	return result
}

func (t *turn) setPolicy(p *fleetpb.Policy) *fleetpb.Result {
	filled := rules.FillPolicy(p)
	if err := rules.CheckPolicy(filled); err != nil {
		return refuse(fleetpb.Code_CODE_INVALID, "%v", err)
	}
	if proto.Equal(filled, t.policy) {
		return done("the policy is so already")
	}
	t.policy = filled
	t.revision++
	t.event("policy-set", "", "", "suspect after %d ms, down after %d ms, at most %d replicas being built on a host and %d in all",
		filled.GetSuspectAfterMs(), filled.GetDownAfterMs(), filled.GetOperationsPerHost(), filled.GetOperationsTotal())
	return done("")
}

// event writes a line of history and forgets the oldest beyond the bound. The group is
// given by its full name.
func (t *turn) event(kind, group, host, format string, args ...any) {
	name, region := statemachines.CutRegion(group)
	t.events.ReplaceOrInsert(&fleetpb.Event{
		Sequence: t.nextEvent,
		AtUnixMs: t.at,
		Kind:     kind,
		Group:    name,
		Region:   region,
		Host:     host,
		Text:     fmt.Sprintf(format, args...),
	})
	t.nextEvent++
	t.revision++
	if t.events.Len() > keptEvents {
		t.events.DeleteMin()
	}
}

// put stores a changed clone of a group under the next generation, without the
// replicas that nobody will ever report again. A tombstone without replicas
// disappears; its number stays used.
func (t *turn) put(g *fleetpb.Group) {
	kept := g.GetReplicas()[:0]
	for _, r := range g.GetReplicas() {
		if r.GetPhase() != fleetpb.ReplicaPhase_REPLICA_PHASE_REMOVED || !t.host(r.GetHostId()).GetLost() {
			kept = append(kept, r)
		}
	}
	clear(g.GetReplicas()[len(kept):])
	g.Replicas = kept
	if lead := g.GetLead(); lead != 0 && !replica(g, lead).GetVoter() {
		g.Lead = 0
		t.aimless(g, lead)
	}
	g.Generation++
	t.revision++
	if g.GetState() == fleetpb.GroupState_GROUP_STATE_PURGING && len(kept) == 0 {
		t.reached(g.GetOperation(), "the data of all its replicas is gone")
		t.end(g, "done: nothing of it is left")
		t.groups.Delete(g.GetId())
		t.event("group-purged", words.Full(g), "", "nothing is left of group %d", g.GetId())
		return
	}
	t.groups.ReplaceOrInsert(g)
}

func done(format string, args ...any) *fleetpb.Result {
	return &fleetpb.Result{Code: fleetpb.Code_CODE_OK, Detail: fmt.Sprintf(format, args...)}
}

func refuse(code fleetpb.Code, format string, args ...any) *fleetpb.Result {
	return &fleetpb.Result{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// marshal encodes a message of our own making; it has no maps, so the bytes are
// the same everywhere.
func marshal(m proto.Message) []byte {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	must.NoError(err, "marshal a message of the fleet record")
	return b
}
