package doormanpb_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	doormanpb "github.com/drumline/drumline/drummerpb/doorman"
)

// Doubles as they travel: little-endian.
const (
	zero    = "0000000000000000"
	ten     = "0000000000002440"
	minus1  = "000000000000f0bf"
	hundred = "0000000000005940"
)

// noLease is a lease of zeros: all three fields are there.
const noLease = "08 00 10 00 19" + zero

func lease(expiry, refresh int64, capacity float64) *doormanpb.Lease {
	return &doormanpb.Lease{ExpiryTime: &expiry, RefreshInterval: &refresh, Capacity: &capacity}
}

// golden pairs every message with its bytes, worked out by hand from the field
// numbers and types of the original.
func golden() map[string]struct {
	m     proto.Message
	bytes string
} {
	str, num, dbl := proto.String, proto.Int64, proto.Float64
	mastership := &doormanpb.Mastership{MasterAddress: str("h:1")}
	algorithm := &doormanpb.Algorithm{Kind: doormanpb.Algorithm_FAIR_SHARE.Enum(), LeaseLength: num(60), RefreshInterval: num(15)}
	return map[string]struct {
		m     proto.Message
		bytes string
	}{
		"Lease":      {lease(1456000000, 5, 10), "08 8098a3b605 10 05 19" + ten},
		"Lease zero": {lease(0, 0, 0), noLease},
		"Lease back": {lease(-1, 1, -1), "08 ffffffffffffffffff01 10 01 19" + minus1},
		"ResourceRequest": {
			&doormanpb.ResourceRequest{ResourceId: str("r"), Priority: num(2), Has: lease(0, 0, 0), Wants: dbl(10)},
			"0a 01 72 10 02 1a 0d" + noLease + "21" + ten,
		},
		"ResourceRequest zero": {
			&doormanpb.ResourceRequest{ResourceId: str(""), Priority: num(0), Wants: dbl(0)},
			"0a 00 10 00 21" + zero,
		},
		"GetCapacityRequest": {
			&doormanpb.GetCapacityRequest{ClientId: str("c"), Resource: []*doormanpb.ResourceRequest{
				{ResourceId: str("r"), Priority: num(0), Wants: dbl(0)},
			}},
			"0a 01 63 12 0e 0a 01 72 10 00 21" + zero,
		},
		"ResourceResponse": {
			&doormanpb.ResourceResponse{ResourceId: str("r"), Gets: lease(0, 0, 0), SafeCapacity: dbl(10)},
			"0a 01 72 12 0d" + noLease + "19" + ten,
		},
		"ResourceResponse bare": {
			&doormanpb.ResourceResponse{ResourceId: str("r"), Gets: lease(0, 0, 0)},
			"0a 01 72 12 0d" + noLease,
		},
		"Mastership":      {mastership, "0a 03 68 3a 31"},
		"Mastership bare": {&doormanpb.Mastership{}, ""},
		"GetCapacityResponse": {
			&doormanpb.GetCapacityResponse{
				Response:   []*doormanpb.ResourceResponse{{ResourceId: str("r"), Gets: lease(0, 0, 0)}},
				Mastership: mastership,
			},
			"0a 12 0a 01 72 12 0d" + noLease + "12 05 0a 03 68 3a 31",
		},
		"PriorityBandAggregate": {
			&doormanpb.PriorityBandAggregate{Priority: num(1), NumClients: num(300), Wants: dbl(100)},
			"08 01 10 ac02 19" + hundred,
		},
		"ServerCapacityResourceRequest": {
			&doormanpb.ServerCapacityResourceRequest{
				ResourceId: str("r"), Has: lease(0, 0, 0),
				Wants: []*doormanpb.PriorityBandAggregate{{Priority: num(0), NumClients: num(1), Wants: dbl(0)}},
			},
			"0a 01 72 12 0d" + noLease + "1a 0d 08 00 10 01 19" + zero,
		},
		"GetServerCapacityRequest": {
			&doormanpb.GetServerCapacityRequest{
				ServerId: str("s"),
				Resource: []*doormanpb.ServerCapacityResourceRequest{{ResourceId: str("r")}},
			},
			"0a 01 73 12 03 0a 01 72",
		},
		"ServerCapacityResourceResponse": {
			&doormanpb.ServerCapacityResourceResponse{ResourceId: str("r"), Gets: lease(0, 0, 0), Algorithm: algorithm, SafeCapacity: dbl(0)},
			"0a 01 72 12 0d" + noLease + "1a 06 08 03 10 3c 18 0f 21" + zero,
		},
		"GetServerCapacityResponse": {
			&doormanpb.GetServerCapacityResponse{
				Response:   []*doormanpb.ServerCapacityResourceResponse{{ResourceId: str("r"), Gets: lease(0, 0, 0)}},
				Mastership: &doormanpb.Mastership{},
			},
			"0a 12 0a 01 72 12 0d" + noLease + "12 00",
		},
		"ReleaseCapacityRequest": {
			&doormanpb.ReleaseCapacityRequest{ClientId: str("c"), ResourceId: []string{"r", "a/b"}},
			"0a 01 63 12 01 72 12 03 61 2f 62",
		},
		"ReleaseCapacityResponse": {&doormanpb.ReleaseCapacityResponse{Mastership: mastership}, "0a 05 0a 03 68 3a 31"},
		"DiscoveryRequest":        {&doormanpb.DiscoveryRequest{}, ""},
		"DiscoveryResponse": {
			&doormanpb.DiscoveryResponse{Mastership: &doormanpb.Mastership{}, IsMaster: proto.Bool(false)},
			"0a 00 10 00",
		},
		"NamedParameter": {&doormanpb.NamedParameter{Name: str("n"), Value: str("v")}, "0a 01 6e 12 01 76"},
		"Algorithm": {
			&doormanpb.Algorithm{
				Kind: doormanpb.Algorithm_NO_ALGORITHM.Enum(), LeaseLength: num(0), RefreshInterval: num(0),
				Parameters: []*doormanpb.NamedParameter{{Name: str("n")}}, LearningModeDuration: num(0),
			},
			"08 00 10 00 18 00 22 03 0a 01 6e 28 00",
		},
		"ResourceTemplate": {
			&doormanpb.ResourceTemplate{
				IdentifierGlob: str("*"), Capacity: dbl(100), Algorithm: algorithm, SafeCapacity: dbl(10), Description: str("d"),
			},
			"0a 01 2a 11" + hundred + "1a 06 08 03 10 3c 18 0f 21" + ten + "2a 01 64",
		},
		"ResourceRepository": {
			&doormanpb.ResourceRepository{Resources: []*doormanpb.ResourceTemplate{
				{IdentifierGlob: str(""), Capacity: dbl(0), Algorithm: algorithm},
			}},
			"0a 13 0a 00 11" + zero + "1a 06 08 03 10 3c 18 0f",
		},
	}
}

func TestEveryMessageHasTheOriginalsBytes(t *testing.T) {
	seen := map[protoreflect.FullName]bool{}
	for name, g := range golden() {
		t.Run(name, func(t *testing.T) {
			want, err := hex.DecodeString(strings.ReplaceAll(g.bytes, " ", ""))
			require.NoError(t, err)
			got, err := proto.MarshalOptions{Deterministic: true}.Marshal(g.m)
			require.NoError(t, err)
			require.Equal(t, hex.EncodeToString(want), hex.EncodeToString(got))
			back := g.m.ProtoReflect().New().Interface()
			require.NoError(t, proto.Unmarshal(want, back))
			require.True(t, proto.Equal(g.m, back), "%v", back)
		})
		seen[g.m.ProtoReflect().Descriptor().FullName()] = true
	}
	messages := doormanpb.File_doorman_doorman_proto.Messages()
	for i := range messages.Len() {
		require.True(t, seen[messages.Get(i).FullName()], "%s has no golden bytes", messages.Get(i).FullName())
	}
}

// A message that lacks a required field is refused by whoever reads it, as the
// original does.
func TestAMissingRequiredFieldIsRefused(t *testing.T) {
	for _, b := range []string{"", "08 00", "08 00 10 00", "10 00 19" + zero} {
		data, err := hex.DecodeString(strings.ReplaceAll(b, " ", ""))
		require.NoError(t, err)
		require.Error(t, proto.Unmarshal(data, &doormanpb.Lease{}), "lease %q", b)
	}
	_, err := proto.Marshal(&doormanpb.DiscoveryResponse{Mastership: &doormanpb.Mastership{}})
	require.Error(t, err, "is_master must be set, also when it is false")
}

// The names are part of the contract: gRPC calls /doorman.Capacity/METHOD.
func TestServiceAndMethodsAreTheOriginals(t *testing.T) {
	services := doormanpb.File_doorman_doorman_proto.Services()
	require.Equal(t, 1, services.Len())
	require.EqualValues(t, "doorman.Capacity", services.Get(0).FullName())
	var methods []string
	for i := range services.Get(0).Methods().Len() {
		methods = append(methods, string(services.Get(0).Methods().Get(i).Name()))
	}
	require.Equal(t, []string{"Discovery", "GetCapacity", "GetServerCapacity", "ReleaseCapacity"}, methods)
}
