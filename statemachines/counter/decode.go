package counter

import (
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	counterpb "github.com/drumline/drumline/drummerpb/counter"
	"github.com/drumline/drumline/statemachines/wire"
)

// Numbers of the fields of a command that are no operation, and of an addition.
const (
	addField   = 1
	stampField = 11
)

// stampSize is about what a time takes.
const stampSize = 8

// mostStamp is the latest time that a command may tell, in Unix milliseconds.
const mostStamp = 1<<43 - 1

// errUnknownField refuses what a newer version may understand.
var errUnknownField = wire.Refusal("the command has a field that this version does not know")

// decodeCommand reads one command, with a mark of its operation.
func decodeCommand(data []byte) (*counterpb.Command, uint64, error) {
	mark, err := checkFields(data)
	if err != nil {
		return nil, 0, err
	}
	c := &counterpb.Command{}
	if proto.Unmarshal(data, c) != nil {
		return nil, 0, wire.Refusal("the command cannot be read: want a drumline.counter.Command")
	}
	if unknown(c) {
		return nil, 0, errUnknownField
	}
	return c, mark, CheckCommand(c)
}

// checkFields refuses what is not one operation and at most one time: protobuf would
// take the last of two. The mark is a hash of the operation's bytes.
func checkFields(data []byte) (mark uint64, err error) {
	ops, stamps := 0, 0
	for len(data) > 0 {
		number, _, n := protowire.ConsumeField(data)
		if n < 0 {
			return 0, wire.Refusal("the command cannot be read: want a drumline.counter.Command")
		}
		if number == stampField {
			stamps++
		} else {
			ops++
			mark = wire.Hash(data[:n])
		}
		data = data[n:]
	}
	if ops != 1 || stamps > 1 {
		return 0, wire.Refuse("the command names %d operations and %d times, want exactly one and at most one", ops, stamps)
	}
	return mark, nil
}

// Stamped is a command with the time of the host that leads its group, in Unix milliseconds,
// whatever time it came with: a group's time never goes back, so nobody else's clock may move
// it. What cannot be read is left as it is, and the Machine refuses it.
func Stamped(cmd []byte, ms uint64) []byte {
	out := make([]byte, 0, len(cmd)+stampSize)
	for rest := cmd; len(rest) > 0; {
		number, kind, n := protowire.ConsumeField(rest)
		if n < 0 {
			return cmd
		}
		if number != stampField || kind != protowire.VarintType {
			out = append(out, rest[:n]...)
		}
		rest = rest[n:]
	}
	return protowire.AppendVarint(protowire.AppendTag(out, stampField, protowire.VarintType), ms)
}

// unknown tells whether a command carries fields of a newer version. Nearly all are
// additions, and looking through them is most of their cost.
func unknown(c *counterpb.Command) bool {
	if a := c.GetAdd(); a != nil {
		return len(c.ProtoReflect().GetUnknown())+len(a.ProtoReflect().GetUnknown())+len(a.GetOnce().ProtoReflect().GetUnknown()) > 0
	}
	return wire.Unknown(c.ProtoReflect())
}

// isModern tells whether a command has what a program of before behaviour version 2 does not
// know and refuses.
func isModern(c *counterpb.Command) bool {
	if c.GetForget() != nil || c.GetMerge().GetAnew() || c.GetConfigure().GetSettings().GetForgetMs() > 0 {
		return true
	}
	for _, e := range c.GetMerge().GetEntries() {
		if slices.ContainsFunc(e.GetSlots(), func(s *counterpb.Slot) bool { return s.GetGeneration() > 0 }) {
			return true
		}
	}
	return false
}

// CheckCommand says what is wrong with a command, or nil. The Machine checks the
// same; handlers and clients do so first to spare the log.
func CheckCommand(c *counterpb.Command) error {
	if c.GetNowMs() > mostStamp {
		return wire.Refusal("the time of the command is beyond the year 2248")
	}
	switch op := c.GetOp().(type) {
	case *counterpb.Command_Add:
		return checkAdd(op.Add)
	case *counterpb.Command_Transfer:
		if op.Transfer.GetAmount() == 0 || op.Transfer.GetAmount() > math.MaxInt64 {
			return wire.Refusal("the amount to transfer must be between 1 and 2^63-1")
		}
		return checkRegion(op.Transfer.GetTo())
	case *counterpb.Command_Retire:
		return checkRegion(op.Retire.GetRegion())
	case *counterpb.Command_Settle:
		return checkRegion(op.Settle.GetRegion())
	case *counterpb.Command_Merge:
		return checkMerge(op.Merge)
	case *counterpb.Command_Forget:
		return checkForget(op.Forget)
	case *counterpb.Command_Configure:
		return CheckSettings(op.Configure.GetSettings())
	case nil:
		return wire.Refusal("the command names no operation: set add or another one")
	}
	return wire.CheckKey(c.GetReset_().GetKey() + c.GetDelete().GetKey() + c.GetCreate().GetKey()) // only one is set
}

func checkAdd(a *counterpb.Add) error {
	if k := a.GetOnce(); k != nil && k.GetHigh()|k.GetLow() == 0 {
		return wire.Refusal("the idempotency key is 0: draw it at random")
	}
	if a.GetOnce().GetMadeMs() > mostStamp {
		return wire.Refusal("the idempotency key was made beyond the year 2248: made_ms are Unix milliseconds")
	}
	if a.GetAmount() == math.MinInt64 {
		return wire.Refusal("the amount is -2^63, which is more than one command takes off")
	}
	return wire.CheckKey(a.GetKey())
}

func checkRegion(region string) error {
	if region == "" || len(region) > MaxRegion {
		return wire.Refuse("the region has %d bytes, want 1 to %d", len(region), MaxRegion)
	}
	return wire.CheckKey(region)
}

func checkForget(f *counterpb.Forget) error {
	if len(f.GetRegions()) > MaxOrigins {
		return wire.Refuse("%d regions are named, at most %d are allowed", len(f.GetRegions()), MaxOrigins)
	}
	for _, region := range f.GetRegions() {
		if err := checkRegion(region); err != nil {
			return err
		}
	}
	return nil
}

func checkOrigin(o *counterpb.Origin) error {
	if o.GetIncarnation() == 0 {
		return wire.Refusal("an origin has no incarnation")
	}
	if o.GetRegion() == "" {
		return nil // a group without a region counts as well
	}
	return checkRegion(o.GetRegion())
}

func checkMerge(g *counterpb.Merge) error {
	if len(g.GetEntries()) > MaxEntries || len(g.GetRetired()) > MaxOrigins {
		return wire.Refuse("the merge has %d counters and %d retired origins, at most %d and %d are allowed", len(g.GetEntries()), len(g.GetRetired()), MaxEntries, MaxOrigins)
	}
	for _, o := range append(slices.Clone(g.GetRetired()), g.GetFrom()) {
		if err := checkOrigin(o); err != nil {
			return err
		}
	}
	if g.GetWallMs() > mostStamp {
		return wire.Refusal("the merge's time is beyond the year 2248")
	}
	for _, e := range g.GetEntries() {
		if err := checkEntry(e); err != nil {
			return err
		}
	}
	return nil
}

func checkEntry(e *counterpb.Entry) error {
	if e.GetGeneration() > math.MaxInt64 || len(e.GetSlots()) > MaxOrigins || e.GetDeleted() && len(e.GetSlots()) > 0 {
		return wire.Refusal("a counter's state is none that a group has")
	}
	for _, s := range e.GetSlots() {
		if err := checkOrigin(s.GetOrigin()); err != nil {
			return err
		}
		if max(s.GetAdded(), s.GetSubtracted(), s.GetBaseAdded(), s.GetBaseSubtracted(), s.GetGeneration()) > math.MaxInt64 || len(s.GetGiven()) > MaxOrigins || len(s.GetWindows()) > resolutions*maxWindows {
			return wire.Refusal("a slot's numbers are none that a group counts to")
		}
		if err := checkParts(s); err != nil {
			return err
		}
	}
	return wire.CheckKey(e.GetKey())
}

func checkParts(s *counterpb.Slot) error {
	for _, g := range s.GetGiven() {
		if err := checkOrigin(g.GetTo()); err != nil {
			return err
		}
		if g.GetAmount() == 0 || g.GetAmount() > math.MaxInt64 {
			return wire.Refusal("rights that were given are none that a group gives")
		}
	}
	for _, b := range s.GetWindows() {
		if r := b.GetResolution(); r < 1 || r > resolutions || b.GetNumber() > mostStamp || max(b.GetAdded(), b.GetSubtracted()) > math.MaxInt64 {
			return wire.Refusal("a window is none that a group has")
		}
	}
	return nil
}
