package sequence_test

import (
	"math/rand/v2"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/statemachines/sequence"
	"github.com/drumline/drumline/statemachines/smtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	smtest.Run(t, smtest.Suite{App: sequence.App(), Command: randomCommand, Query: randomQuery, Golden: "testdata/golden", Length: 400})
}

// Keys lead to modes, so that commands meet sequences that take them.
var keys = []string{"", "cached", "gapfree", "time", "tso", "scatter", "small", "quota"}

func definitionOf(key string) *sequencepb.Definition {
	switch key {
	case "cached":
		return &sequencepb.Definition{Mode: sequencepb.Mode_MODE_CACHED, Step: -3, Start: proto.Int64(10), Min: proto.Int64(-100), Max: proto.Int64(10), Cycle: true}
	case "gapfree":
		return &sequencepb.Definition{Mode: sequencepb.Mode_MODE_GAPFREE, ReservationMs: 3000, Owner: "books"}
	case "time":
		return &sequencepb.Definition{Mode: sequencepb.Mode_MODE_TIME, Time: &sequencepb.TimeLayout{WorkerBits: 1, LeaseMs: 2000}}
	case "tso":
		return &sequencepb.Definition{Mode: sequencepb.Mode_MODE_TSO, LogicalBits: 8}
	case "scatter":
		return &sequencepb.Definition{Mode: sequencepb.Mode_MODE_SCATTER, ScatterBits: 8}
	case "small":
		return &sequencepb.Definition{Min: proto.Int64(5), Max: proto.Int64(25), Step: 2, MaxRange: 4}
	case "quota":
		return &sequencepb.Definition{Quota: &sequencepb.Quota{Numbers: 7, PeriodMs: 1500}}
	}
	return nil
}

func randomCommand(r *rand.Rand) []byte {
	c := &sequencepb.Command{}
	key := keys[r.IntN(len(keys))]
	randomOp(r, c, key)
	if r.IntN(3) > 0 && c.GetOpen() == nil && c.GetAdvance() == nil {
		c.Caller = &sequencepb.Caller{
			Client: &sequencepb.Client{Group: group, Generation: r.Uint64N(20) / 19, Number: 1 + r.Uint64N(5)},
			Serial: 1 + r.Uint64N(60),
		}
		c.Caller.Settled = r.Uint64N(c.GetCaller().GetSerial()) * (r.Uint64N(4) / 3)
	}
	return encode(c)
}

func randomOp(r *rand.Rand, c *sequencepb.Command, key string) {
	held := &sequencepb.Reservation{Number: 1 + r.Int64N(20), Token: r.Uint64N(40)}
	switch r.IntN(24) {
	case 0:
		c.Op = create(key, definitionOf(key)).GetOp()
	case 1:
		c.Op = &sequencepb.Command_Open{Open: &sequencepb.Open{Nonce: r.Uint64N(10) / 9}}
	case 2:
		c.Op = randomAdmin(r, key).GetOp()
	case 3, 4:
		c.Op = reserve(r.Uint64N(5000)).GetOp()
		c.GetReserve().Key = "gapfree"
	case 5:
		c.Op = commit(held).GetOp()
		c.GetCommit().Key = "gapfree"
	case 6:
		c.Op = cancel(held).GetOp()
		c.GetCancel().Key = "gapfree"
	case 7, 8:
		c.Op = lease(&sequencepb.LeaseWorker{Key: "time", NowMs: 1000 + r.Uint64N(100_000)}).GetOp()
		if r.IntN(2) == 0 {
			c.GetLeaseWorker().Worker, c.GetLeaseWorker().Token = proto.Uint32(r.Uint32N(2)), r.Uint64N(40)
		}
	case 9:
		c.Op = release(&sequencepb.Worker{Worker: r.Uint32N(2), Token: r.Uint64N(40)}).GetOp()
		c.GetReleaseWorker().Key = "time"
	case 10, 11:
		c.Op = giveBack(1+r.Uint64N(60), r.Uint64N(5)).GetOp()
		c.GetGiveBack().Key = key
	case 12, 13:
		c.Op = advance(&sequencepb.Advance{Key: "tso", Window: r.Uint64N(4), UntilMs: r.Uint64N(100), Issued: r.Uint64N(9)}).GetOp()
	default:
		n := &sequencepb.Next{Key: key, Count: r.Uint64N(6), Whole: r.IntN(5) == 0, Plain: r.IntN(9) == 0}
		if r.IntN(8) == 0 {
			n.Floor = proto.Int64(r.Int64N(300) - 100)
		}
		c.Op, c.NowMs = next(n).GetOp(), 1+r.Uint64N(50)
	}
}

func randomAdmin(r *rand.Rand, key string) *sequencepb.Command {
	switch r.IntN(7) {
	case 0:
		return restart(&sequencepb.Restart{Key: key})
	case 1:
		return set(&sequencepb.Set{Key: key, Next: proto.Int64(r.Int64N(30))})
	case 2:
		return set(&sequencepb.Set{Key: key, Definition: definitionOf(keys[r.IntN(len(keys))])})
	case 3:
		return drop(key)
	case 4:
		return resume(&sequencepb.Resume{Margin: 1 + r.Uint64N(9)})
	case 5:
		return resume(&sequencepb.Resume{Key: &key, Margin: r.Uint64N(9), Floor: proto.Int64(r.Int64N(40))})
	}
	return configure(r.Uint64N(9), &sequencepb.Settings{Defaults: definitionOf(key), NoAutoCreate: r.IntN(4) == 0, MaxKeys: r.Uint64N(12), Family: sequencepb.Family(r.Int32N(9) / 7)})
}

func randomQuery(r *rand.Rand) []byte {
	key := keys[r.IntN(len(keys))]
	switch r.IntN(4) {
	case 3:
		return encode(&sequencepb.Query{Op: &sequencepb.Query_Window{Window: &sequencepb.GetWindow{Key: "tso"}}})
	case 0:
		return encode(&sequencepb.Query{Op: &sequencepb.Query_Describe{Describe: &sequencepb.Describe{Key: key}}})
	case 1:
		return encode(&sequencepb.Query{Op: &sequencepb.Query_List{List: &sequencepb.List{Prefix: key[:len(key)/2], After: &key, Limit: r.Uint32N(4)}}})
	}
	return encode(&sequencepb.Query{Op: &sequencepb.Query_Status{Status: &sequencepb.Status{}}})
}
