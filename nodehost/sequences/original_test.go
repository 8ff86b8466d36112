package sequences_test

import (
	"encoding/hex"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	rrseqpb "github.com/drumline/drumline/drummerpb/rrseq"
	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
)

// The bytes that the original's programs send and read, written down by hand.
func TestTheOriginalsWire(t *testing.T) {
	for want, m := range map[string]proto.Message{
		"0a05" + "6d79736571" + "10e807": &rrseqpb.NextIDRequest{Name: "myseq", RangeSize: 1000},
		"08e907" + "10d10f":              &rrseqpb.NextIDReply{FromId: 1001, ToId: 2001},
		"0a05" + "6d79736571":            &rrseqpb.CurIDRequest{Name: "myseq"},
		"0801":                           &rrseqpb.CurIDReply{CurId: 1},
		"0a0161" + "1002":                &rrseqpb.SetIDRequest{Name: "a", NewId: 2},
		"0801 ":                          &rrseqpb.SetIDReply{Success: true},
	} {
		got, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		require.NoError(t, err)
		require.Equal(t, strings.TrimSpace(want), hex.EncodeToString(got))
	}
	require.Equal(t, "/pb.RRAPI/GRPCNextID", rrseqpb.RRAPI_GRPCNextID_FullMethodName)
	require.Equal(t, "/pb.RRAPI/GRPCCurID", rrseqpb.RRAPI_GRPCCurID_FullMethodName)
	require.Equal(t, "/pb.RRAPI/GRPCSetID", rrseqpb.RRAPI_GRPCSetID_FullMethodName)
}

func TestTheOriginalsClientsWork(t *testing.T) {
	conn := served(t, newCluster("sequence/myseq"), nil)
	c, ctx := rrseqpb.NewRRAPIClient(conn), within(t)
	next := func(name string, size int64) *rrseqpb.NextIDReply {
		r, err := c.GRPCNextID(ctx, &rrseqpb.NextIDRequest{Name: name, RangeSize: size})
		require.NoError(t, err)
		return r
	}
	current := func(name string) uint64 {
		r, err := c.GRPCCurID(ctx, &rrseqpb.CurIDRequest{Name: name})
		require.NoError(t, err)
		return r.GetCurId()
	}
	require.EqualValues(t, 1, current("myseq"), "never used")
	require.EqualValues(t, 1, current("none"), "no such group")
	r := next("myseq", 1000)
	require.Equal(t, []uint64{1, 1001}, []uint64{r.GetFromId(), r.GetToId()})
	r = next("myseq", 1250)
	require.Equal(t, []uint64{1001, 2251}, []uint64{r.GetFromId(), r.GetToId()}, "mixed sizes share nothing")
	require.EqualValues(t, 2251, current("myseq"))
	for _, size := range []int64{0, -42} {
		r = next("myseq", size)
		require.EqualValues(t, 1, r.GetToId()-r.GetFromId())
	}
	require.EqualValues(t, 1, next("myseq#customer-7", 1).GetFromId(), "a family's key")

	_, err := c.GRPCSetID(ctx, &rrseqpb.SetIDRequest{Name: "myseq", NewId: math.MaxUint64})
	require.Equal(t, codes.FailedPrecondition, status.Code(err))
	require.EqualValues(t, 2253, current("myseq"))
}

func TestTheEndIsSaid(t *testing.T) {
	conn := served(t, newCluster("sequence/myseq", "sequence/odd"), nil)
	c, ctx := rrseqpb.NewRRAPIClient(conn), within(t)
	got := uint64(0)
	for range 5 {
		r, err := c.GRPCNextID(ctx, &rrseqpb.NextIDRequest{Name: "myseq", RangeSize: 1 << 62})
		if err == nil {
			require.Equal(t, got+1, r.GetFromId())
			got = r.GetToId() - 1
		}
	}
	require.EqualValues(t, math.MaxInt64, got)
	_, err := c.GRPCNextID(ctx, &rrseqpb.NextIDRequest{Name: "myseq", RangeSize: 1})
	require.Equal(t, codes.FailedPrecondition, status.Code(err))
	require.ErrorContains(t, err, "exhausted")
	_, err = c.GRPCCurID(ctx, &rrseqpb.CurIDRequest{Name: "myseq"})
	require.Equal(t, codes.FailedPrecondition, status.Code(err))
	_, err = c.GRPCNextID(ctx, &rrseqpb.NextIDRequest{Name: "none"})
	require.Equal(t, codes.NotFound, status.Code(err))

	n := sequencepb.NewSequenceClient(conn)
	_, err = n.Create(ctx, &sequencepb.CreateRequest{Group: "sequence/odd", Create: &sequencepb.Create{Definition: &sequencepb.Definition{Step: 2}}})
	require.NoError(t, err)
	_, err = c.GRPCNextID(ctx, &rrseqpb.NextIDRequest{Name: "odd"})
	require.ErrorContains(t, err, "wrong mode")
	for _, name := range []string{"", strings.Repeat("n", 1<<20), "a\nb"} {
		_, err = c.GRPCNextID(ctx, &rrseqpb.NextIDRequest{Name: name})
		require.Equal(t, codes.InvalidArgument, status.Code(err))
	}
}
