//go:build e2e || e2elong

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	kvpb "github.com/drumline/drumline/drummerpb/kv"
	multiraftpb "github.com/drumline/drumline/drummerpb/multiraft"
	"github.com/drumline/drumline/internal/localfleet"
)

// triesPerMethod is how many calls each method of each server gets.
const triesPerMethod = 25

// rawCodec sends bytes as they are.
type rawCodec struct{}

func (rawCodec) Marshal(v any) ([]byte, error)      { return *v.(*[]byte), nil }
func (rawCodec) Unmarshal(data []byte, v any) error { *v.(*[]byte) = data; return nil }
func (rawCodec) Name() string                       { return "proto" }

// TestHostileInput calls every method of every service with empty, huge, random and
// contradictory requests: each gets a clear status, no process dies, nothing changes.
func TestHostileInput(t *testing.T) {
	w := newWorld(t, 3, 3)
	spec := &fleetpb.Spec{Name: "kv/target", App: "kv", Replicas: 3}
	w.create(spec)
	w.within(15*time.Second, "launch", w.whole([]string{"kv/target"}))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	kv := w.client.KV("kv/target")
	_, err := kv.Put(ctx, []byte("k"), []byte("v"))
	w.must(err)
	before, err := w.groups()
	w.must(err)

	dice := rand.New(rand.NewPCG(1, 2))
	for _, kind := range []string{localfleet.KindDrummer, localfleet.KindNodeHost} {
		conn := dial(t, w.fleet.APIs(kind)[0])
		for _, file := range []protoreflect.FileDescriptor{
			drummerpb.File_drummer_drummer_proto, hostpb.File_host_host_proto, kvpb.File_kv_kv_proto, multiraftpb.File_multiraft_multiraft_proto,
		} {
			for i := range file.Services().Len() {
				torture(ctx, t, conn, dice, file.Services().Get(i))
			}
		}
	}

	after, err := w.groups()
	w.must(err)
	require.Equal(t, replicaIDs(before), replicaIDs(after), "hostile input changed the fleet")
	w.within(10*time.Second, "still whole", w.whole([]string{"kv/target"}))
	entry, _, err := kv.Get(ctx, []byte("k"))
	w.must(err)
	require.Equal(t, "v", string(entry.Value))
}

func dial(t *testing.T, addr string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.ForceCodec(rawCodec{})))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// torture calls the methods of one service.
func torture(ctx context.Context, t *testing.T, conn *grpc.ClientConn, dice *rand.Rand, service protoreflect.ServiceDescriptor) {
	t.Helper()
	for i := range service.Methods().Len() {
		m := service.Methods().Get(i)
		for n := range triesPerMethod {
			req := hostile(dice, m.Input(), n)
			ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
			err := call(ctx, conn, m, req)
			cancel()
			requireClear(t, m, req, err)
		}
	}
}

func call(ctx context.Context, conn *grpc.ClientConn, m protoreflect.MethodDescriptor, req []byte) error {
	name := fmt.Sprintf("/%s/%s", m.Parent().FullName(), m.Name())
	var resp []byte
	if !m.IsStreamingClient() {
		return conn.Invoke(ctx, name, &req, &resp)
	}
	s, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, name)
	if err != nil {
		return err
	}
	// A send that fails has its reason in what is received.
	_ = s.SendMsg(&req)
	_ = s.CloseSend()
	for {
		if err := s.RecvMsg(&resp); err != nil {
			return err
		}
	}
}

// requireClear refuses the codes that say nothing.
func requireClear(t *testing.T, m protoreflect.MethodDescriptor, req []byte, err error) {
	t.Helper()
	st := status.Convert(err)
	switch st.Code() {
	case codes.OK, codes.InvalidArgument, codes.NotFound, codes.FailedPrecondition, codes.Unavailable, codes.ResourceExhausted, codes.Unimplemented, codes.AlreadyExists, codes.Aborted, codes.DeadlineExceeded:
		return
	case codes.Internal:
		// gRPC's own answer to bytes that are no message.
		if strings.Contains(st.Message(), "unmarshal") {
			return
		}
	case codes.Unknown:
		if err.Error() == "EOF" {
			return // a stream that ended in order
		}
	}
	t.Errorf("%s answers %v to %d bytes %.60x", m.FullName(), err, len(req), req)
}

// hostile makes the n-th request for a message type.
func hostile(dice *rand.Rand, d protoreflect.MessageDescriptor, n int) []byte {
	switch n {
	case 0:
		return nil
	case 1:
		return noise(dice, 100)
	case 2:
		return noise(dice, 3<<20)
	}
	msg := dynamicpb.NewMessage(d)
	fill(dice, msg, 4)
	if d.FullName() == "drumline.drummer.DeleteGroupRequest" {
		msg.Set(d.Fields().ByName("name"), protoreflect.ValueOfString("kv/other")) // the right name would be no hostile input
	}
	if n%5 == 0 {
		msg.SetUnknown(append(msg.GetUnknown(), 0xfa, 0x7f, 0x03, 'a', 'b', 'c'))
	}
	raw, err := proto.MarshalOptions{AllowPartial: true}.Marshal(msg)
	if err != nil {
		return noise(dice, 10)
	}
	if n%7 == 0 && len(raw) > 0 {
		raw[dice.IntN(len(raw))] ^= byte(1 + dice.IntN(255))
	}
	return raw
}

func noise(dice *rand.Rand, n int) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(dice.Uint32())
	}
	return out
}

// fill sets random fields to random, extreme or contradictory values.
func fill(dice *rand.Rand, msg protoreflect.Message, depth int) {
	fields := msg.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if dice.IntN(4) == 0 || (f.Message() != nil && depth == 0) {
			continue
		}
		switch {
		case f.IsMap():
			k := scalar(dice, f.MapKey()).MapKey()
			if f.MapValue().Message() == nil {
				msg.Mutable(f).Map().Set(k, scalar(dice, f.MapValue()))
			}
		case f.IsList():
			list := msg.Mutable(f).List()
			for range dice.IntN(4) {
				if f.Message() == nil {
					list.Append(scalar(dice, f))
				} else {
					fill(dice, list.AppendMutable().Message(), depth-1)
				}
			}
		case f.Message() != nil:
			fill(dice, msg.Mutable(f).Message(), depth-1)
		default:
			msg.Set(f, scalar(dice, f))
		}
	}
}

func scalar(dice *rand.Rand, f protoreflect.FieldDescriptor) protoreflect.Value {
	words := []string{"", "kv/target", "kv/", "/", "kv/" + strings.Repeat("x", 70_000), "capacity/a#b", "nope/\x01", "..", "east"}
	numbers := []uint64{0, 1, 2, 1000, 1001, 1 << 31, 1<<63 - 1, 1 << 63, 1<<64 - 1}
	n := numbers[dice.IntN(len(numbers))]
	switch f.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(words[dice.IntN(len(words))])
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes(noise(dice, dice.IntN(5000)))
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(dice.IntN(2) == 0)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(dice.IntN(12) - 2))
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(uint32(n))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(int64(n))
	default:
		return protoreflect.ValueOfUint64(n)
	}
}
