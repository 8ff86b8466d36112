package gossip

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/memberlist"
	"google.golang.org/protobuf/proto"

	gossippb "github.com/drumline/drumline/drummerpb/gossip"
)

// Bounds of what is kept of others.
const (
	maxText = 255
	// forgetAfter is for how long one that is not heard any more is shown.
	forgetAfter = time.Hour
	// maxUnheard bounds those of them.
	maxUnheard = 4096
)

// Words for whether a member is heard.
const (
	Heard   = "heard"
	Unheard = "unheard"
)

// Member is a process that takes part, or did lately.
type Member struct {
	// Card is what it says of itself; do not change it.
	Card *gossippb.Card
	// Address that it gossips on.
	Address string
	// State is Heard or Unheard.
	State string
	// For is for how long it has been so.
	For time.Duration
}

// Proto is the member on the wire.
func (m Member) Proto() *gossippb.Member {
	return &gossippb.Member{Card: m.Card, Address: m.Address, State: m.State, SinceMs: m.For.Milliseconds()}
}

// KindWord is a kind, for people.
func KindWord(k gossippb.Kind) string {
	if k == gossippb.Kind_KIND_DRUMMER {
		return "drummer"
	}
	return "host"
}

// known is what the roster has of a member.
type known struct {
	card    *gossippb.Card
	address string
	heard   bool
	since   time.Time
}

// roster is who is heard. memberlist tells it, with its own locks held: nothing here
// calls memberlist.
type roster struct {
	self   *gossippb.Card
	ledger *ledger
	log    *slog.Logger

	mu sync.RWMutex
	by map[string]*known
}

var (
	_ memberlist.EventDelegate = (*roster)(nil)
	_ memberlist.AliveDelegate = (*roster)(nil)
)

func newRoster(self *gossippb.Card, l *ledger, log *slog.Logger) *roster {
	return &roster{self: self, ledger: l, log: log, by: make(map[string]*known)}
}

// NotifyAlive refuses whoever says what no process of ours would say. What others say of
// this process itself is memberlist's to answer.
func (r *roster) NotifyAlive(n *memberlist.Node) error {
	if n.Name == r.self.GetId() {
		return nil
	}
	c, err := decode(n)
	if err != nil {
		r.ledger.count(Refused)
		return err
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	if k := r.by[n.Name]; k != nil && k.card.GetBootEpoch() > c.GetBootEpoch() {
		r.ledger.count(Stale)
		return fmt.Errorf("start %d of %s was heard, this is start %d", k.card.GetBootEpoch(), c.GetName(), c.GetBootEpoch())
	}
	return nil
}

// decode reads and checks the card of a member.
func decode(n *memberlist.Node) (*gossippb.Card, error) {
	var c gossippb.Card
	if err := proto.Unmarshal(n.Meta, &c); err != nil {
		return nil, errors.New("its card does not decode")
	}
	if c.GetId() != n.Name {
		return nil, errors.New("its card is of another process")
	}
	if len(n.Addr) == 0 || n.Port == 0 {
		return nil, errors.New("it has no address")
	}
	return &c, check(&c)
}

// check says what is wrong with a card.
func check(c *gossippb.Card) error {
	if c.GetKind() != gossippb.Kind_KIND_HOST && c.GetKind() != gossippb.Kind_KIND_DRUMMER {
		return fmt.Errorf("kind %d is neither host nor drummer", c.GetKind())
	}
	for _, t := range []struct {
		name, value string
		needed      bool
	}{
		{"id", c.GetId(), true},
		{"name", c.GetName(), true},
		{"api", c.GetApi(), true},
		{"raft", c.GetRaft(), true},
		{"region", c.GetRegion(), false},
		{"zone", c.GetZone(), false},
		{"http", c.GetHttp(), false},
		{"version", c.GetVersion(), false},
	} {
		switch {
		case t.value == "" && t.needed:
			return fmt.Errorf("%s is missing", t.name)
		case len(t.value) > maxText || !utf8.ValidString(t.value) || strings.ContainsFunc(t.value, func(c rune) bool { return !unicode.IsPrint(c) }):
			return fmt.Errorf("%s is too long or does not print", t.name)
		}
	}
	return nil
}

// NotifyJoin notes somebody new, or back.
func (r *roster) NotifyJoin(n *memberlist.Node) { r.note(n, true) }

// NotifyUpdate notes what somebody says anew.
func (r *roster) NotifyUpdate(n *memberlist.Node) { r.note(n, true) }

// NotifyLeave notes that somebody is not heard any more.
func (r *roster) NotifyLeave(n *memberlist.Node) { r.note(n, false) }

func (r *roster) note(n *memberlist.Node, heard bool) {
	c, err := decode(n)
	if err != nil {
		return // NotifyAlive has refused it
	}
	now := time.Now()
	r.mu.Lock()
	k := r.by[n.Name]
	if k == nil {
		k = &known{since: now}
		r.by[n.Name] = k
	}
	if k.heard != heard {
		k.since = now
	}
	k.card, k.address, k.heard = c, n.Address(), heard
	r.forget(now)
	r.mu.Unlock()
	if !heard && n.Name != r.self.GetId() {
		r.log.Info("a neighbour is not heard any more", "name", c.GetName(), "id", c.GetId(), "address", n.Address())
	}
}

// forget drops those that were not heard for long, and the longest of too many. mu is held.
func (r *roster) forget(now time.Time) {
	unheard := 0
	oldest := ""
	for id, k := range r.by {
		switch {
		case k.heard:
		case now.Sub(k.since) > forgetAfter:
			delete(r.by, id)
		default:
			unheard++
			if o := r.by[oldest]; o == nil || k.since.Before(o.since) {
				oldest = id
			}
		}
	}
	if unheard > maxUnheard {
		delete(r.by, oldest)
	}
}

func (r *roster) hears(id string) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	k := r.by[id]
	return k != nil && k.heard
}

// addresses are those of the others that are heard.
func (r *roster) addresses() []string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var all []string
	for id, k := range r.by {
		if k.heard && id != r.self.GetId() {
			all = append(all, k.address)
		}
	}
	return all
}

// members lists all, by name.
func (r *roster) members(now time.Time, own string) []Member {
	r.mu.RLock()
	defer r.mu.RUnlock()
	all := make([]Member, 0, len(r.by))
	for id, k := range r.by {
		m := Member{Card: k.card, Address: k.address, State: Unheard, For: now.Sub(k.since)}
		if k.heard {
			m.State = Heard
		}
		if id == r.self.GetId() {
			m.Address = own
		}
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b Member) int {
		return cmp.Or(cmp.Compare(a.Card.GetName(), b.Card.GetName()), cmp.Compare(a.Card.GetId(), b.Card.GetId()))
	})
	return all
}
