package capacity_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/proto"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	"github.com/drumline/drumline/statemachines/capacity"
	"github.com/drumline/drumline/statemachines/smtest"
)

func TestConformance(t *testing.T) {
	smtest.Run(t, smtest.Suite{App: capacity.App(), Command: randomCommand, Query: randomQuery, Golden: "testdata/golden"})
}

func randomID(r *rand.Rand) string {
	if r.IntN(30) == 0 {
		return ""
	}
	return fmt.Sprintf("c%d", r.IntN(12))
}

// randomAmount is small and round, and wrong now and then.
func randomAmount(r *rand.Rand) float64 {
	if r.IntN(40) == 0 {
		return []float64{-1, math.NaN(), math.Inf(1), math.MaxFloat64, 1e-300}[r.IntN(5)]
	}
	return float64(r.IntN(80)) / float64(1+r.IntN(3))
}

func randomCommand(r *rand.Rand) []byte {
	switch r.IntN(12) {
	case 0:
		return randomConfigure(r)
	case 1:
		return encode(&capacitypb.Command{Op: &capacitypb.Command_Release{
			Release: &capacitypb.Release{ClientIds: []string{randomID(r)}},
		}})
	case 2:
		return encode(&capacitypb.Command{Op: &capacitypb.Command_Confirm{Confirm: &capacitypb.Confirm{
			Receipts: []*capacitypb.Receipt{{ClientId: randomID(r), Token: randomToken(r)}},
		}}})
	case 3:
		return encode(&capacitypb.Command{Op: &capacitypb.Command_ParentLease{ParentLease: &capacitypb.ParentLease{
			Capacity: randomAmount(r), Expires: r.Int64N(300e9), Lead: []uint64{0, 2, 15, 31, 47}[r.IntN(5)], SafeShare: randomAmount(r),
		}}})
	}
	d := &capacitypb.Decide{}
	for range r.IntN(5) {
		d.Requests = append(d.Requests, randomRequest(r))
	}
	return encode(&capacitypb.Command{Op: &capacitypb.Command_Decide{Decide: d}})
}

func randomToken(r *rand.Rand) *capacitypb.Token {
	if r.IntN(2) == 0 {
		return nil
	}
	return &capacitypb.Token{Generation: r.Uint64N(10) / 9 * 7, N: r.Uint64N(300)}
}

func randomRequest(r *rand.Rand) *capacitypb.Request {
	q := &capacitypb.Request{ClientId: randomID(r), Token: randomToken(r), Limited: r.IntN(2) == 0}
	for range 1 + r.IntN(3)*r.IntN(2) {
		q.Bands = append(q.Bands, &capacitypb.Band{Priority: r.Int64N(4) - 1, Clients: 1 + r.Int64N(3)*r.Int64N(2), Wants: randomAmount(r)})
	}
	if r.IntN(2) == 0 {
		q.Has = proto.Float64(randomAmount(r))
	}
	if r.IntN(3) == 0 {
		q.Serial = r.Uint64N(40)
	}
	return q
}

func randomConfigure(r *rand.Rand) []byte {
	d := &capacitypb.Definition{
		Algorithm:     capacitypb.Algorithm(r.Int32N(7)),
		LeaseLengthMs: 1000 * (1 + r.Int64N(60)), RefreshIntervalMs: 1000,
		MaxClients: r.Uint32N(15),
	}
	if r.IntN(6) > 0 {
		d.Capacity = proto.Float64(randomAmount(r))
	}
	if r.IntN(4) == 0 {
		d.Parent = "capacity/parent"
	}
	if r.IntN(3) == 0 {
		d.SafeCapacity = proto.Float64(float64(r.IntN(12) - 1))
	}
	for p := range r.IntN(3) {
		d.Floors = append(d.Floors, &capacitypb.Floor{Priority: int64(p), Capacity: randomAmount(r)})
	}
	return encode(&capacitypb.Command{Op: &capacitypb.Command_Configure{Configure: &capacitypb.Configure{
		Revision: r.Uint64N(30), Definition: d, LearningMs: r.Int64N(2) * r.Int64N(20000),
	}}})
}

func randomQuery(r *rand.Rand) []byte {
	switch r.IntN(3) {
	case 0:
		return encode(&capacitypb.Query{Op: &capacitypb.Query_Describe{Describe: &capacitypb.Describe{}}})
	case 1:
		return encode(&capacitypb.Query{Op: &capacitypb.Query_Find{Find: &capacitypb.Find{ClientId: randomID(r)}}})
	}
	return encode(&capacitypb.Query{Op: &capacitypb.Query_List{List: &capacitypb.List{After: r.Uint64N(14), Limit: r.Uint32N(6)}}})
}

func encode(m proto.Message) []byte {
	data, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	return data
}
