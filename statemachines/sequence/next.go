package sequence

import (
	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/statemachines/sequence/pages"
)

// Incarnations and tokens are times of birth, in units of 2^-20 ms: as many can be born in one.
const (
	stampShift = 20
	mostStamp  = 1<<43 - 1
)

// do applies a command of a client, or of nobody. What comes back besides the answer is
// the range that the client holds from now on.
func (m *Machine) do(cmd *sequencepb.Command, c *client) (*sequencepb.Result, holding) {
	m.stamp = cmd.GetNowMs()
	switch op := cmd.GetOp().(type) {
	case *sequencepb.Command_Next:
		return m.handOut(op.Next, c)
	case *sequencepb.Command_GiveBack:
		return m.giveBack(op.GiveBack, c), holding{}
	case *sequencepb.Command_Reserve:
		return m.reserve(op.Reserve), holding{}
	case *sequencepb.Command_Commit:
		return m.finish(op.Commit.GetKey(), op.Commit.GetNumber(), op.Commit.GetToken(), true), holding{}
	case *sequencepb.Command_Cancel:
		return m.finish(op.Cancel.GetKey(), op.Cancel.GetNumber(), op.Cancel.GetToken(), false), holding{}
	case *sequencepb.Command_LeaseWorker:
		return m.leaseWorker(op.LeaseWorker), holding{}
	case *sequencepb.Command_ReleaseWorker:
		return m.releaseWorker(op.ReleaseWorker), holding{}
	case *sequencepb.Command_Advance:
		return m.advance(op.Advance), holding{}
	case *sequencepb.Command_Open:
		return m.open(op.Open.GetNonce()), holding{}
	default:
		return m.administer(cmd), holding{}
	}
}

// find is the sequence of a key, made on first use, and safe to change; or why not.
func (m *Machine) find(key string) (series, *sequencepb.Result) {
	x := m.at(key)
	if !x.exists() {
		if m.settings.GetNoAutoCreate() {
			return x, refuse(sequencepb.Outcome_OUTCOME_NOT_FOUND, "there is no sequence %q, and none is made on first use: create it", key)
		}
		return m.add(key, m.defaults)
	}
	x = m.own(x)
	if x.generation != m.generation {
		return x, refuse(sequencepb.Outcome_OUTCOME_CLOSED,
			"the group was recovered, and the newest numbers may be forgotten: resume the sequence with a margin or a floor")
	}
	return x, nil
}

// add makes a sequence.
func (m *Machine) add(key string, s *shape) (series, *sequencepb.Result) {
	if m.closed {
		return series{}, refuse(sequencepb.Outcome_OUTCOME_CLOSED,
			"the group was recovered, and sequence %q may be one that is forgotten: resume the group first", key)
	}
	switch f := m.settings.GetFamily(); {
	case f == sequencepb.Family_FAMILY_NO && key != "":
		return series{}, refuse(sequencepb.Outcome_OUTCOME_NOT_FOUND, "the group is one sequence and no family, as its template says: use it without #%s", key)
	case f == sequencepb.Family_FAMILY_YES && key == "":
		return series{}, refuse(sequencepb.Outcome_OUTCOME_NOT_FOUND, "the group is a family, as its template says: name the sequence, like NAME#KEY")
	}
	if uint64(m.book.Len()) >= m.settings.GetMaxKeys() {
		return series{}, refuse(sequencepb.Outcome_OUTCOME_FULL, "the group holds %d sequences, which is all it may", m.book.Len())
	}
	m.births = m.unique(m.births)
	x := m.one(m.book.Add(key))
	x.reshape(s, m.now)
	x.begin(s.start)
	x.incarnation, x.generation = m.births, m.generation
	m.skipMargin(x)
	return x, nil
}

// unique is the number after the last one that no other cluster gives, nor a group that was
// recovered without knowing the last one: the time makes it differ from theirs, the count
// from our own.
func (m *Machine) unique(last uint64) uint64 { return max(last+1, min(m.stamp, mostStamp)<<stampShift) }

// own makes a series safe to change, and brings it up to what was said of the whole
// group since it was last changed.
func (m *Machine) own(x series) series {
	x.ties, x.numbers = m.book.Own(x.id)
	m.follow(x)
	return x
}

// follow does what a resumption of the whole group asks of each sequence: it is done
// when a sequence is next touched, so that no command has to touch them all.
func (h *head) follow(x series) {
	switch {
	case h.closed:
	case x.generation == h.generation:
		x.seen = h.margin // it was resumed by itself
	default:
		h.skipMargin(x)
		x.generation = h.generation
	}
}

// skipMargin skips what the series has not skipped of the group's margin.
func (h *head) skipMargin(x series) {
	x.leap(h.margin - x.seen)
	x.seen = h.margin
}

// leap skips n numbers that may have been used in a life before, and whatever else was
// under way then.
func (x series) leap(n uint64) {
	if n == 0 {
		return
	}
	x.skipped += x.gaps.Drop()
	x.era++ // ranges of the life before are nobody's last, and its window nobody's
	switch {
	case x.crew != nil:
		x.crew.Raise(n)
	case x.logicalBits > 0:
		x.next += min(n, (x.left()-1)>>x.logicalBits) << x.logicalBits
	default:
		x.skip(n)
	}
}

// handOut is the app's heart: the sequence moves on, and what it passed belongs to the
// caller. All is decided before anything moves.
func (m *Machine) handOut(n *sequencepb.Next, c *client) (*sequencepb.Result, holding) {
	x, refused := m.find(n.GetKey())
	if refused == nil {
		refused = x.unfit(n)
	}
	if refused != nil {
		return refused, holding{}
	}
	skip, refused := x.rise(n)
	if refused != nil {
		return refused, holding{}
	}
	left := x.left() - skip
	wraps := left == 0 && x.cycle
	if wraps {
		left = x.room(x.low())
	}
	count, refused := x.allow(n, left, m.now)
	if refused != nil {
		return refused, holding{}
	}
	if wraps {
		x.begin(x.low())
	}
	first, h := m.pass(x, skip, count)
	r := m.granted(x, first, count)
	if c == nil {
		return r, holding{}
	}
	x.ranges++
	x.outstanding += count
	return r, h
}

// pass moves a series over what it skips and what it hands out.
func (m *Machine) pass(x series, skip, count uint64) (int64, holding) {
	x.skip(skip)
	h := holding{key: x.key, hash: m.book.Hash(x.key), incarnation: x.incarnation, era: x.era, index: x.next, granted: count, count: count}
	x.next += count
	x.count(count, m.now)
	if x.quota.Numbers > 0 {
		x.bucket.Tokens -= count
	}
	return x.number(h.index), h
}

// granted is the answer with numbers. It is valid until the next one, by when it has been
// encoded: nearly all commands are of this kind, and what they leave behind is the work of
// the garbage collector, who looks through all sequences for it.
func (m *Machine) granted(x series, first int64, count uint64) *sequencepb.Result {
	r, g := &m.spare.result, &m.spare.grant
	r.Outcome, r.Grant = sequencepb.Outcome_OUTCOME_OK, g
	g.First, g.Count, g.Step, g.Mode, g.Cache, g.ScatterBits = first, count, x.step, x.mode, x.cache, x.scatterBits
	g.Incarnation, g.Group, g.Generation = x.incarnation, m.group, m.generation
	return r
}

// unfit refuses what a sequence of this kind does not hand out.
func (x series) unfit(n *sequencepb.Next) *sequencepb.Result {
	const wrong = sequencepb.Outcome_OUTCOME_WRONG_MODE
	if refused := x.stranger(n.GetIncarnation()); refused != nil {
		return refused
	}
	switch {
	case x.mode == sequencepb.Mode_MODE_TSO:
		return refuse(sequencepb.Outcome_OUTCOME_TIMESTAMPS, "the numbers are timestamps, which the host that leads the group hands out: ask one of today's version, and not under a session")
	case x.mode == sequencepb.Mode_MODE_GAPFREE:
		return refuse(wrong, "the sequence is gap-free: reserve numbers, then commit or cancel them")
	case x.mode == sequencepb.Mode_MODE_TIME:
		return refuse(wrong, "the numbers are made of time by clients: lease a worker")
	case n.GetPlain() && (x.mode == sequencepb.Mode_MODE_SCATTER || x.step != 1 || x.min < 0):
		return refuse(wrong, "the numbers do not ascend by one from 1 on: use a client that knows steps and modes")
	case x.cycle && n.Floor != nil:
		return refuse(wrong, "the sequence cycles, so a floor means nothing")
	}
	return nil
}

// stranger refuses who got numbers of another incarnation; 0 got none.
func (x series) stranger(incarnation uint64) *sequencepb.Result {
	if incarnation == 0 || incarnation == x.incarnation {
		return nil
	}
	return refuse(sequencepb.Outcome_OUTCOME_INCARNATION, "the sequence was dropped and made anew: what was handed out before is of another one")
}

// rise is how many numbers are skipped for the floor.
func (x series) rise(n *sequencepb.Next) (uint64, *sequencepb.Result) {
	if n.Floor == nil || x.left() == 0 {
		return 0, nil
	}
	d := x.distance(n.GetFloor())
	switch {
	case d >= x.left():
		return 0, refuse(sequencepb.Outcome_OUTCOME_FLOOR, "the floor %d lies beyond the end of the sequence", n.GetFloor())
	case d > x.maxSkip:
		return 0, refuse(sequencepb.Outcome_OUTCOME_FLOOR, "the floor %d skips %d numbers, and one request may skip %d: set the sequence", n.GetFloor(), d, x.maxSkip)
	}
	return d, nil
}

// allow says how many of the numbers that are left a wish gets.
func (x series) allow(n *sequencepb.Next, left uint64, now int64) (uint64, *sequencepb.Result) {
	want := max(n.GetCount(), 1)
	count := min(want, left)
	if x.maxRange > 0 {
		count = min(count, x.maxRange)
	}
	if count == 0 || (n.GetWhole() && count < want) {
		return 0, refuse(sequencepb.Outcome_OUTCOME_EXHAUSTED, "the sequence has %d numbers left that one request may have, and %d are wanted", count, want)
	}
	if x.quota.Numbers == 0 {
		return count, nil
	}
	need := uint64(1)
	if n.GetWhole() {
		need = want
	}
	if need > x.quota.Numbers {
		return 0, refuse(sequencepb.Outcome_OUTCOME_QUOTA, "the quota is %d numbers, so a whole range of %d never fits", x.quota.Numbers, need)
	}
	x.bucket.Refill(x.quota, now)
	if x.bucket.Tokens < need {
		r := refuse(sequencepb.Outcome_OUTCOME_QUOTA, "the quota of the sequence is used up")
		r.RetryMs = x.bucket.Await(x.quota, need)
		return 0, r
	}
	return min(count, x.bucket.Tokens), nil
}

// at is the series of a key, to be read; none without.
func (m *Machine) at(key string) series { return m.one(m.book.Find(m.book.Hash(key), key)) }

// one is the series of an ID, to be read; none of 0.
func (m *Machine) one(id pages.ID) (x series) {
	if id != 0 {
		x.id, x.key = id, m.book.Key(id)
		x.ties, x.numbers = m.book.Row(id)
	}
	return x
}
