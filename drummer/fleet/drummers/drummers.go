// Package drummers is the record's list of the drummers themselves: who they are, where
// they are, and which change of their own group is under way. Pure: fleet keeps the list
// and hands commands to it; what Raft makes of the wish is carried out by package members.
//
// The list holds wishes and addresses. Who votes is Raft's to say: a drummer is added and
// removed in the list first, then in the group, and settled in the list when the group's
// membership shows it. One change at a time is under way; a number is never given twice,
// because a drummer that returns under a number that has voted would forget its vote.
package drummers

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/drummer/fleet/rules"
	"github.com/drumline/drumline/drummer/fleet/versions"
	"github.com/drumline/drumline/drummer/fleet/words"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
)

// Most is how many drummers a record lists: five, or seven in a world of three regions, and
// two more while they are replaced.
const Most = 9

// List is the drummers by number. It is a value: its messages are never changed in place.
type List struct {
	All []*fleetpb.Drummer
	// Next is the number that the next one gets; 0 until the first ones are written down.
	Next uint64
}

// Event is a line for the record's history.
type Event struct{ Kind, Text string }

// turn is one command on its way through the list.
type turn struct {
	List
	at      int64
	version uint32
	events  []Event
}

// Execute carries a command out by a behaviour version of the record and returns the list as
// it is then; known is false when it is not about drummers. It has changed if there are events.
func (l List) Execute(c *fleetpb.Command, version uint32) (next List, result *fleetpb.Result, events []Event, known bool) {
	t := &turn{List: l, at: c.GetAtUnixMs(), version: version}
	switch op := c.GetOp().(type) {
	case *fleetpb.Command_FoundDrummers:
		result = t.found(op.FoundDrummers)
	case *fleetpb.Command_AddDrummer:
		result = t.add(op.AddDrummer)
	case *fleetpb.Command_UpdateDrummer:
		result = t.update(op.UpdateDrummer)
	case *fleetpb.Command_RemoveDrummer:
		result = t.remove(op.RemoveDrummer)
	case *fleetpb.Command_DrummerSettled:
		result = t.settled(op.DrummerSettled)
	default:
		return l, nil, nil, false
	}
	return t.List, result, t.events, true
}

// Get returns the drummer of that number, or nil.
func (l List) Get(number uint64) *fleetpb.Drummer {
	for _, d := range l.All {
		if d.GetNumber() == number {
			return d
		}
	}
	return nil
}

// OfHost returns the drummer whose data directory has that id, or nil.
func (l List) OfHost(id string) *fleetpb.Drummer {
	for _, d := range l.All {
		if d.GetHostId() == id {
			return d
		}
	}
	return nil
}

// Pending returns the drummer whose membership is changing, or nil.
func (l List) Pending() *fleetpb.Drummer {
	for _, d := range l.All {
		if d.GetState() != fleetpb.DrummerState_DRUMMER_STATE_MEMBER {
			return d
		}
	}
	return nil
}

// Check says what is wrong with a list that came from a snapshot, or nil.
func (l List) Check() error {
	if len(l.All) > Most {
		return fmt.Errorf("%d drummers: at most %d are kept", len(l.All), Most)
	}
	last := uint64(0)
	for _, d := range l.All {
		if d.GetNumber() <= last || d.GetNumber() >= l.Next {
			return fmt.Errorf("drummer %d is out of order", d.GetNumber())
		}
		last = d.GetNumber()
		if _, ok := words.DrummerState(d.GetState()); !ok || d.GetHostId() == "" || d.GetApi() == "" {
			return fmt.Errorf("drummer %d has no state, host id or address", d.GetNumber())
		}
	}
	return nil
}

// found writes the first drummers down, once.
func (t *turn) found(c *fleetpb.FoundDrummers) *fleetpb.Result {
	if t.Next != 0 {
		return done("known already")
	}
	list := List{Next: uint64(len(c.GetDrummers())) + 1}
	for i, d := range c.GetDrummers() {
		d = identity(d)
		if d.GetNumber() != uint64(i)+1 {
			return refuse(fleetpb.Code_CODE_INVALID, "drummer %d of the first ones has number %d", i+1, d.GetNumber())
		}
		if list.OfHost(d.GetHostId()) != nil {
			return refuse(fleetpb.Code_CODE_INVALID, "two drummers have the host id %s", rules.Quote(d.GetHostId()))
		}
		// What a drummer says of itself may not be known yet: it comes with an update.
		if err := check(d, rules.CheckOptional); err != nil {
			return refuse(fleetpb.Code_CODE_INVALID, "drummer %d: %v", i+1, err)
		}
		d.State, d.SinceUnixMs = fleetpb.DrummerState_DRUMMER_STATE_MEMBER, t.at
		list.All = append(list.All, d)
	}
	if len(list.All) == 0 || len(list.All) > Most {
		return refuse(fleetpb.Code_CODE_INVALID, "%d first drummers: want 1 to %d", len(list.All), Most)
	}
	t.List = list
	t.event("drummers-founded", "%d drummers form their group", len(list.All))
	return done("")
}

func (t *turn) add(c *fleetpb.AddDrummer) *fleetpb.Result {
	d := identity(c.GetDrummer())
	if err := checkAuthor(check(d, rules.CheckText), c.GetAuthor()); err != nil {
		return refuse(fleetpb.Code_CODE_INVALID, "the drummer to add: %v", err)
	}
	if known := t.OfHost(d.GetHostId()); known != nil {
		if known.GetState() == fleetpb.DrummerState_DRUMMER_STATE_LEAVING {
			return t.takeBack(known, c.GetAuthor())
		}
		return numbered(known, "it is a drummer already")
	}
	old := t.Get(c.GetDrummer().GetReplaces())
	if refusal := t.unfit(d, old); refusal != nil {
		return refusal
	}
	switch {
	case c.GetDrummer().GetReplaces() != 0 && old == nil:
		return refuse(fleetpb.Code_CODE_NOT_FOUND, "no drummer has the number %d", c.GetDrummer().GetReplaces())
	case len(t.All) >= Most:
		return refuse(fleetpb.Code_CODE_LIMIT, "there are %d drummers already: more bring no more safety", Most)
	}
	d.Number, d.Replaces = t.Next, old.GetNumber()
	d.State, d.SinceUnixMs = fleetpb.DrummerState_DRUMMER_STATE_JOINING, t.at
	t.List = List{All: append(slices.Clone(t.All), d), Next: t.Next + 1}
	instead := ""
	if old != nil {
		instead = fmt.Sprintf(" instead of %s", who(old))
	}
	t.event("drummer-joining", "%s is to join%s%s", who(d), instead, words.AskedBy(c.GetAuthor()))
	return numbered(d, "")
}

// takeBack has a drummer stay that was to leave: others may have been lost meanwhile, so that
// they could neither go on without it nor be replaced before it has left. Whether it has its
// vote yet, or no longer, its join finds out.
func (t *turn) takeBack(d *fleetpb.Drummer, author string) *fleetpb.Result {
	if t.version < versions.TakenBack {
		return refuse(fleetpb.Code_CODE_CONFLICT, "drummer %d is being removed; to come back it needs an empty data directory, and gets another number", d.GetNumber())
	}
	d = proto.CloneOf(d)
	d.State, d.SinceUnixMs = fleetpb.DrummerState_DRUMMER_STATE_JOINING, t.at
	t.store(d)
	t.event("drummer-joining", "%s is to stay%s: its removal is taken back", who(d), words.AskedBy(author))
	return numbered(d, "its removal is taken back")
}

// unfit says why a new drummer cannot come now, or nil; old is the one whose place it takes.
func (t *turn) unfit(d, old *fleetpb.Drummer) *fleetpb.Result {
	if t.Next == 0 {
		return refuse(fleetpb.Code_CODE_CONFLICT, "the first drummers are not written down yet: try again in a moment")
	}
	if p := t.Pending(); p != nil {
		return t.busy(p)
	}
	for _, other := range t.All {
		switch {
		case other == old:
		case other.GetName() == d.GetName():
			return refuse(fleetpb.Code_CODE_CONFLICT, "the name %q is %s's: give each drummer its own, or replace that one", d.GetName(), who(other))
		case other.GetApi() == d.GetApi():
			return refuse(fleetpb.Code_CODE_CONFLICT, "the address %s is %s's: if its disk is lost, replace it", d.GetApi(), who(other))
		}
	}
	return nil
}

// busy refuses a change while another is under way.
func (t *turn) busy(p *fleetpb.Drummer) *fleetpb.Result {
	word, _ := words.DrummerState(p.GetState())
	or := "remove a drummer that can't come"
	if p.GetState() == fleetpb.DrummerState_DRUMMER_STATE_LEAVING {
		or = "add it again if it has to stay"
	}
	return refuse(fleetpb.Code_CODE_CONFLICT, "%s is %s: one change at a time; wait for its end, or %s", who(p), word, or)
}

// update stores what a drummer says of itself.
func (t *turn) update(c *fleetpb.UpdateDrummer) *fleetpb.Result {
	d := identity(c.GetDrummer())
	if err := check(d, rules.CheckText); err != nil {
		return refuse(fleetpb.Code_CODE_INVALID, "drummer %d: %v", d.GetNumber(), err)
	}
	old := t.Get(d.GetNumber())
	if old == nil || old.GetHostId() != d.GetHostId() {
		return refuse(fleetpb.Code_CODE_NOT_FOUND, "no drummer %d has the host id %s", d.GetNumber(), rules.Quote(d.GetHostId()))
	}
	for _, other := range t.All {
		pair := old.GetReplaces() == other.GetNumber() || other.GetReplaces() == old.GetNumber()
		if other != old && other.GetApi() == d.GetApi() && !pair { // who takes another's place may have its address
			return refuse(fleetpb.Code_CODE_CONFLICT, "the address %s is %s's: give each drummer its own", d.GetApi(), who(other))
		}
	}
	d.State, d.Replaces, d.SinceUnixMs = old.GetState(), old.GetReplaces(), old.GetSinceUnixMs()
	if proto.Equal(old, d) {
		return done("known already")
	}
	t.store(d)
	t.event("drummer-changed", "%s, region %q, api at %s, raft at %s", who(d), d.GetRegion(), d.GetApi(), d.GetRaft())
	return done("")
}

func (t *turn) remove(c *fleetpb.RemoveDrummer) *fleetpb.Result {
	if err := checkAuthor(nil, c.GetAuthor()); err != nil {
		return refuse(fleetpb.Code_CODE_INVALID, "%v", err)
	}
	d, p := t.Get(c.GetNumber()), t.Pending()
	switch {
	case d == nil:
		return refuse(fleetpb.Code_CODE_NOT_FOUND, "no drummer has the number %d", c.GetNumber())
	case d.GetState() == fleetpb.DrummerState_DRUMMER_STATE_LEAVING:
		return numbered(d, "it is being removed already")
	case p != nil && p != d:
		return t.busy(p)
	case len(t.All) == 1:
		return refuse(fleetpb.Code_CODE_CONFLICT, "%s is the last drummer: without it there is no record", who(d))
	}
	d = proto.CloneOf(d)
	// Whom it was to replace stays known: that one may be out of the group already.
	d.State, d.SinceUnixMs = fleetpb.DrummerState_DRUMMER_STATE_LEAVING, t.at
	t.store(d)
	t.event("drummer-leaving", "%s is to leave%s", who(d), words.AskedBy(c.GetAuthor()))
	return numbered(d, "")
}

// settled follows what the group's membership shows.
func (t *turn) settled(c *fleetpb.DrummerSettled) *fleetpb.Result {
	d, p := t.Get(c.GetNumber()), t.Pending()
	switch {
	case d == nil, !c.GetGone() && d.GetState() == fleetpb.DrummerState_DRUMMER_STATE_MEMBER:
		return done("known already")
	case d != p && p.GetReplaces() != d.GetNumber():
		return refuse(fleetpb.Code_CODE_CONFLICT, "%s is not being changed", who(d))
	case c.GetGone():
		t.All = slices.DeleteFunc(slices.Clone(t.All), func(o *fleetpb.Drummer) bool { return o == d })
		t.event("drummer-removed", "%s is removed for good: its number is not given again", who(d))
		return done("")
	case d.GetState() != fleetpb.DrummerState_DRUMMER_STATE_JOINING:
		return refuse(fleetpb.Code_CODE_CONFLICT, "%s is being removed", who(d))
	}
	d = proto.CloneOf(d)
	d.State, d.SinceUnixMs, d.Replaces = fleetpb.DrummerState_DRUMMER_STATE_MEMBER, t.at, 0
	t.store(d)
	t.event("drummer-joined", "%s votes", who(d))
	return done("")
}

// store puts a drummer in the place of the one of its number.
func (t *turn) store(d *fleetpb.Drummer) {
	t.All = slices.Clone(t.All)
	for i, o := range t.All {
		if o.GetNumber() == d.GetNumber() {
			t.All[i] = d
		}
	}
}

func (t *turn) event(kind, format string, args ...any) {
	t.events = append(t.events, Event{kind, fmt.Sprintf(format, args...)})
}

// identity is what a drummer says of itself, without what is the record's to say.
func identity(d *fleetpb.Drummer) *fleetpb.Drummer {
	return &fleetpb.Drummer{
		Number: d.GetNumber(), HostId: d.GetHostId(), Name: d.GetName(), Region: d.GetRegion(), Api: d.GetApi(), Raft: d.GetRaft(),
	}
}

// check says what is wrong with an identity; known checks what may not be known of the first ones.
func check(d *fleetpb.Drummer, known func(what, s string) error) error {
	for _, f := range []struct {
		what, text string
		check      func(what, s string) error
	}{
		{"host id", d.GetHostId(), rules.CheckText},
		{"api address", d.GetApi(), rules.CheckText},
		{"name", d.GetName(), known},
		{"raft address", d.GetRaft(), known},
		{"region", d.GetRegion(), rules.CheckOptional},
	} {
		if err := f.check(f.what, f.text); err != nil {
			return err
		}
	}
	return nil
}

func checkAuthor(err error, author string) error {
	if err != nil {
		return err
	}
	return rules.CheckOptional("author", author)
}

// who names a drummer for people.
func who(d *fleetpb.Drummer) string {
	if d.GetName() == "" {
		return fmt.Sprintf("drummer %d", d.GetNumber())
	}
	return fmt.Sprintf("drummer %d (%s)", d.GetNumber(), d.GetName())
}

// numbered answers with the drummer's number.
func numbered(d *fleetpb.Drummer, detail string) *fleetpb.Result {
	r := done("%s", detail)
	r.Items = []*fleetpb.ItemResult{{Name: d.GetName(), Code: fleetpb.Code_CODE_OK, Id: d.GetNumber()}}
	return r
}

func done(format string, args ...any) *fleetpb.Result {
	return &fleetpb.Result{Code: fleetpb.Code_CODE_OK, Detail: fmt.Sprintf(format, args...)}
}

func refuse(code fleetpb.Code, format string, args ...any) *fleetpb.Result {
	return &fleetpb.Result{Code: code, Detail: fmt.Sprintf(format, args...)}
}
