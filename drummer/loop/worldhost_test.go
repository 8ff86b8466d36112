package loop_test

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/drummer/loop"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
)

// simHost is a nodehost: a manifest on a disk, a stream, obedience.
type simHost struct {
	name, region, id string
	epoch            uint64
	running          bool
	since            time.Duration // when it last came up or went down
	cutOff           bool          // from the supervisor only

	session  uint64
	retry    time.Duration // no new stream before
	beat     time.Duration // last heartbeat
	arrive   time.Duration // of the last message to it: streams keep their order
	depart   time.Duration // of the last message from it
	reported map[uint64]*drummerpb.ReplicaReport
	told     int // gone replicas told on this stream

	// on disk
	manifest    map[uint64]*simReplica // by replica id
	gone        []*drummerpb.ReplicaRef
	incarnation uint64
	term        uint64
	generations map[uint64]uint64
}

// simReplica is a replica on a disk.
type simReplica struct {
	group, id uint64
	name      string
	join      bool
	ready     time.Duration // runs from then on
	match     int           // index of its log
	cc        uint64        // newest membership that it has applied
}

func (w *world) addHost(region string) *simHost {
	w.nextHost++
	h := &simHost{name: fmt.Sprintf("h%d", w.nextHost), region: region}
	w.hosts = append(w.hosts, h)
	h.wipe(w)
	h.boot(w)
	return h
}

// wipe gives the host an empty disk, which is a new host.
func (h *simHost) wipe(w *world) {
	h.id = fmt.Sprintf("%s-%08x", h.name, w.rng.Uint32())
	h.epoch = 0
	h.manifest = map[uint64]*simReplica{}
	h.generations = map[uint64]uint64{}
	h.incarnation, h.term, h.gone = 0, 0, nil
}

func (h *simHost) boot(w *world) {
	w.note("%s (%s) starts", h.name, h.id)
	h.running, h.since, h.epoch = true, w.now, h.epoch+1
	h.retry = w.now
	for _, r := range h.manifest {
		r.ready = w.now + time.Duration(2+len(h.manifest)%7)*tick
	}
}

func (h *simHost) kill(w *world) {
	w.note("%s (%s) is killed", h.name, h.id)
	h.running, h.since = false, w.now
	h.hangUp(w)
}

// hangUp ends the stream from the host's side.
func (h *simHost) hangUp(w *world) {
	s := h.session
	h.cut(w)
	if w.sessions[s] != nil {
		delete(w.sessions, s)
		w.tell(loop.Gone{Session: s})
	}
}

// cut forgets the stream.
func (h *simHost) cut(w *world) {
	h.session, h.retry = 0, w.now+time.Duration(1+w.rng.IntN(10))*tick
}

// live tells whether the replica runs.
func (h *simHost) live(w *world, id uint64) bool {
	r := h.manifest[id]
	return h.running && r != nil && w.now >= r.ready
}

func (h *simHost) tick(w *world) {
	if !h.running {
		return
	}
	if h.session == 0 {
		if w.up && !h.cutOff && w.now >= h.retry {
			h.connect(w)
		}
		return
	}
	if h.cutOff {
		return
	}
	h.report(w)
	if w.now-h.beat >= time.Second {
		h.beat = w.now
		h.say(w, func(s uint64) loop.Event { return loop.Beat{Session: s} })
	}
}

func (h *simHost) connect(w *world) {
	w.nextSess++
	h.session = w.nextSess
	w.sessions[h.session] = h
	h.reported = map[uint64]*drummerpb.ReplicaReport{}
	h.told = len(h.gone)
	h.beat = w.now
	hello := &drummerpb.Hello{Deployment: "sim", Version: "sim", Host: &fleetpb.Host{
		Id: h.id, Name: h.name, Region: h.region, Api: h.name + ":1", Raft: h.name + ":2", BootEpoch: h.epoch,
		Apps: []*fleetpb.App{{Name: "kv", Version: 1}},
	}}
	for _, id := range slices.Sorted(maps.Keys(h.manifest)) {
		r := h.describe(w, h.manifest[id])
		h.reported[id] = r
		hello.Replicas = append(hello.Replicas, r)
	}
	h.say(w, func(s uint64) loop.Event { return loop.Connected{Session: s, Hello: hello} })
}

// say sends an event to the supervisor, in order.
func (h *simHost) say(w *world, event func(session uint64) loop.Event) {
	s, term := h.session, w.term
	h.depart = max(h.depart, w.now+time.Duration(1+w.rng.IntN(2))*tick)
	w.queue = append(w.queue, delivery{h.depart, func() {
		if w.up && w.term == term && w.sessions[s] == h {
			w.tell(event(s))
		}
	}})
}

// report tells what changed.
func (h *simHost) report(w *world) {
	rep := &drummerpb.Report{Gone: h.gone[h.told:]}
	h.told = len(h.gone)
	for _, id := range slices.Sorted(maps.Keys(h.manifest)) {
		r := h.describe(w, h.manifest[id])
		old := h.reported[id]
		r.Applied = old.GetApplied()
		if !proto.Equal(old, r) {
			h.reported[id] = r
			rep.Changed = append(rep.Changed, r)
		}
	}
	if len(rep.GetChanged())+len(rep.GetGone()) > 0 {
		h.say(w, func(s uint64) loop.Event { return loop.Reported{Session: s, Report: rep} })
	}
}

func (h *simHost) describe(w *world, r *simReplica) *drummerpb.ReplicaReport {
	d := &drummerpb.ReplicaReport{Group: r.group, Replica: r.id, Name: r.name, State: drummerpb.ReplicaState_REPLICA_STATE_STARTING, Observer: r.join}
	if !h.live(w, r.id) {
		return d
	}
	d.State = drummerpb.ReplicaState_REPLICA_STATE_OK
	w.rafts[r.group].describe(w, r, d)
	return d
}

// receive obeys orders.
func (h *simHost) receive(w *world, m *drummerpb.SupervisorMessage) {
	o := m.GetOrder()
	if o == nil {
		return
	}
	answer := func(ok, refused bool, detail string) *drummerpb.OrderResult {
		return &drummerpb.OrderResult{Order: o.GetId(), Ok: ok, Refused: refused, Detail: detail}
	}
	reply := func(r *drummerpb.OrderResult) {
		if h.session == 0 {
			return
		}
		h.say(w, func(s uint64) loop.Event {
			if c := w.changes[o.GetGroup()]; c.order == o.GetId() {
				c.answered = true
				w.changes[o.GetGroup()] = c
			}
			return loop.Answered{Session: s, Result: r}
		})
	}
	if o.GetHostId() != h.id || o.GetBootEpoch() != h.epoch || o.GetTerm() < h.term || o.GetGeneration() < h.generations[o.GetGroup()] {
		reply(answer(false, true, "stale"))
		return
	}
	h.term, h.generations[o.GetGroup()] = o.GetTerm(), o.GetGeneration()
	if w.lossy && w.rng.IntN(40) == 0 {
		return // obeyed by nobody, answered by nobody
	}
	if w.lossy && w.rng.IntN(40) == 0 {
		reply(answer(false, w.rng.IntN(3) == 0, "trouble"))
		return
	}
	switch b := o.GetBody().(type) {
	case *drummerpb.Order_Start:
		h.start(w, o, b.Start)
		reply(answer(true, false, ""))
	case *drummerpb.Order_Destroy:
		h.destroy(w, o)
		reply(answer(true, false, ""))
	case *drummerpb.Order_CatchUp:
		h.catchUp(w, o, reply, answer)
	default:
		r := answer(false, false, "")
		w.rafts[o.GetGroup()].obey(w, o, r)
		reply(r)
	}
}

func (h *simHost) start(w *world, o *drummerpb.Order, s *drummerpb.Start) {
	if h.manifest[o.GetReplica()] != nil {
		return
	}
	for _, r := range h.manifest {
		if r.group == o.GetGroup() {
			w.violate("S2: host %s starts replica %d of group %d beside %d", h.id, o.GetReplica(), o.GetGroup(), r.id)
		}
	}
	if at, ok := w.started[o.GetReplica()]; ok {
		w.violate("S5: replica %d ran on %s and starts from nothing on %s", o.GetReplica(), at, h.id)
	}
	w.started[o.GetReplica()] = h.id
	r := &simReplica{group: o.GetGroup(), id: o.GetReplica(), name: s.GetName(), join: s.GetJoin(), ready: w.now + time.Duration(1+w.rng.IntN(10))*tick}
	h.manifest[r.id] = r
	if w.rafts[r.group] == nil {
		if s.GetJoin() {
			w.violate("replica %d joins group %d, which was never launched", r.id, r.group)
		}
		w.rafts[r.group] = newRaft(r.group, s.GetInitialMembers())
	}
}

func (h *simHost) destroy(w *world, o *drummerpb.Order) {
	r := w.rafts[o.GetGroup()]
	id := o.GetReplica()
	if r != nil {
		_, voter := r.voters[id]
		_, observer := r.observers[id]
		if (voter || observer) && !o.GetDestroy().GetTombstone() && h.manifest[id] != nil {
			w.violate("S6: replica %d of group %d is destroyed while a member", id, r.id)
		}
		if o.GetDestroy().GetTombstone() && r.opened && !r.sealed && !w.deletedHard[r.id] {
			w.violate("S6: group %d is destroyed while it serves", r.id)
		}
	}
	if h.manifest[id] != nil {
		delete(h.manifest, id)
		h.gone = append(h.gone, &drummerpb.ReplicaRef{Group: o.GetGroup(), Replica: id})
	}
	w.started[id] = h.id
}

// catchUp answers when the replica has what is committed now, or gives up.
func (h *simHost) catchUp(w *world, o *drummerpb.Order, reply func(*drummerpb.OrderResult), answer func(bool, bool, string) *drummerpb.OrderResult) {
	r, rep := w.rafts[o.GetGroup()], h.manifest[o.GetReplica()]
	if r == nil || rep == nil {
		reply(answer(false, false, "no such replica"))
		return
	}
	want, until, epoch := r.commit, w.now+4*time.Second, h.epoch
	var poll func()
	poll = func() {
		switch {
		case !h.running || h.epoch != epoch:
		case h.live(w, rep.id) && r.serving(w) && r.member(rep.id) && rep.match >= want:
			reply(answer(true, false, ""))
		case w.now >= until:
			reply(answer(false, false, "it does not catch up"))
		default:
			w.later(1, poll)
		}
	}
	poll()
}
