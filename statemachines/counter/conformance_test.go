package counter_test

import (
	"math/rand/v2"
	"testing"

	"go.uber.org/goleak"

	counterpb "github.com/drumline/drumline/drummerpb/counter"
	"github.com/drumline/drumline/statemachines/counter"
	"github.com/drumline/drumline/statemachines/smtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	smtest.Run(t, smtest.Suite{App: counter.App(), Command: randomCommand, Query: randomQuery, Golden: "testdata/golden", Length: 300})
}

var keys = []string{"", "a", "ab", "b"}

func randomKey(r *rand.Rand) string { return keys[r.IntN(len(keys))] }

func randomCommand(r *rand.Rand) []byte {
	c := &counterpb.Command{}
	key := randomKey(r)
	switch r.IntN(20) {
	case 0:
		c = reset(key)
	case 1:
		c = remove(key)
	case 2:
		c = create(key)
	case 3:
		c = transfer(randomRegion(r), 1+r.Uint64N(5))
	case 4:
		c = retire(randomRegion(r))
	case 5:
		c.Op = &counterpb.Command_Settle{Settle: &counterpb.Settle{Region: randomRegion(r)}}
	case 6:
		c.Op = &counterpb.Command_Configure{Configure: &counterpb.Configure{Revision: r.Uint64N(9), Settings: &counterpb.Settings{
			ForgetMs: r.Uint64N(2) * keptFor, Bounded: r.IntN(3) == 0, MaxKeys: r.Uint64N(5), Remember: r.Uint64N(6), RememberMs: r.Uint64N(3000), NoAutoCreate: r.IntN(4) == 0,
			Keep: []*counterpb.Keep{{Resolution: counterpb.Resolution(1 + r.Int32N(5)), Windows: r.Uint32N(4)}},
		}}}
	case 7:
		c.Op = &counterpb.Command_Tick{Tick: &counterpb.Tick{}}
		if r.IntN(2) == 0 {
			c = forget(randomRegion(r))
		}
	case 8, 9, 10, 11:
		c = merge(randomMerge(r))
	default:
		c = add(key, r.Int64N(20)-5)
		if r.IntN(3) == 0 {
			c.GetAdd().Once = &counterpb.Key{High: 1, Low: r.Uint64N(9), MadeMs: r.Uint64N(2) * (start + r.Uint64N(5000))}
		}
	}
	if r.IntN(8) > 0 {
		c.NowMs = start + r.Uint64N(20_000)
	}
	return encode(c)
}

func randomRegion(r *rand.Rand) string { return []string{"ord", "hkg", "ams"}[r.IntN(3)] }

func randomOrigin(r *rand.Rand) *counterpb.Origin {
	return &counterpb.Origin{Region: randomRegion(r), Incarnation: 1 + r.Uint64N(2)}
}

func randomMerge(r *rand.Rand) *counterpb.Merge {
	g := &counterpb.Merge{From: randomOrigin(r), Upto: r.Uint64N(50), WallMs: r.Uint64N(2) * (start + r.Uint64N(20_000)), Relayed: r.IntN(3) == 0, Anew: r.IntN(3) == 0}
	if r.IntN(9) == 0 {
		g.Retired = append(g.Retired, randomOrigin(r))
	}
	for range r.IntN(3) {
		g.Entries = append(g.Entries, randomEntry(r))
	}
	return g
}

func randomEntry(r *rand.Rand) *counterpb.Entry {
	e := &counterpb.Entry{Key: randomKey(r), Generation: r.Uint64N(3) / 2, Deleted: r.IntN(9) == 0}
	if e.GetDeleted() {
		return e
	}
	for range r.IntN(3) {
		s := &counterpb.Slot{Origin: randomOrigin(r), Added: r.Uint64N(50), Subtracted: r.Uint64N(9), BaseAdded: r.Uint64N(9) / 6, BaseSubtracted: r.Uint64N(9) / 7}
		if r.IntN(5) == 0 {
			s.Generation = r.Uint64N(3)
		}
		if r.IntN(4) == 0 {
			s.Given = append(s.Given, &counterpb.Given{To: randomOrigin(r), Amount: 1 + r.Uint64N(4)})
		}
		for range r.IntN(3) {
			n := counterpb.Resolution(1 + r.Int32N(5))
			s.Windows = append(s.Windows, &counterpb.Bucket{Resolution: n, Number: (start + r.Uint64N(20_000)) / counter.Length(n), Added: r.Uint64N(9), Subtracted: r.Uint64N(3)})
		}
		e.Slots = append(e.Slots, s)
	}
	return e
}

func randomQuery(r *rand.Rand) []byte {
	key := randomKey(r)
	q := &counterpb.Query{}
	switch r.IntN(5) {
	case 0:
		q.Op = &counterpb.Query_Get{Get: &counterpb.Get{Key: key}}
	case 1:
		q.Op = &counterpb.Query_List{List: &counterpb.List{Prefix: key[:len(key)/2], After: &key, Limit: r.Uint32N(3)}}
	case 2:
		q.Op = &counterpb.Query_Windows{Windows: &counterpb.Windows{Key: key, Resolution: counterpb.Resolution(r.Int32N(6)), Limit: r.Uint32N(4)}}
	case 3:
		q.Op = &counterpb.Query_Export{Export: &counterpb.Export{After: r.Uint64N(90), Limit: r.Uint32N(3), Relayed: r.IntN(2) == 0, WallMs: r.Uint64N(2) * start, Skip: []*counterpb.Origin{randomOrigin(r)}}}
	default:
		q.Op = &counterpb.Query_Status{Status: &counterpb.Status{}}
		if key == "a" {
			q.Op = &counterpb.Query_Digest{Digest: &counterpb.Digest{Of: randomOrigin(r)}}
		}
	}
	return encode(q)
}
