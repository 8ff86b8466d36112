package api_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/drumline/drumline/config"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	kvpb "github.com/drumline/drumline/drummerpb/kv"
	multiraftpb "github.com/drumline/drumline/drummerpb/multiraft"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft"
	"github.com/drumline/drumline/internal/serve"
	"github.com/drumline/drumline/nodehost/route"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/statemachines/kv"
)

// rawCodec sends and receives bytes as they are.
type rawCodec struct{}

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	data, _ := v.([]byte)
	return mem.BufferSlice{mem.SliceBuffer(data)}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	if to, ok := v.(*[]byte); ok {
		*to = data.Materialize()
	}
	return nil
}

func (rawCodec) Name() string { return "proto" }

// methods lists every method of every service of a host.
func methods() []protoreflect.MethodDescriptor {
	var out []protoreflect.MethodDescriptor
	for _, file := range []protoreflect.FileDescriptor{
		hostpb.File_host_host_proto, kvpb.File_kv_kv_proto, multiraftpb.File_multiraft_multiraft_proto,
	} {
		for i := range file.Services().Len() {
			s := file.Services().Get(i)
			for j := range s.Methods().Len() {
				out = append(out, s.Methods().Get(j))
			}
		}
	}
	return out
}

// machineRaft is a Raft of one kv group, 1000, without replication.
type machineRaft struct{ m *kv.Machine }

func (r machineRaft) Propose(_ context.Context, g ids.Group, cmd []byte) (statemachines.Result, error) {
	if g != 1000 {
		return statemachines.Result{}, fault.New(fault.GroupNotFound, "not here")
	}
	results := make([]statemachines.Result, 1)
	r.m.Apply([]statemachines.Command{{Index: 1, Version: 1, Data: cmd}}, results)
	return results[0], nil
}

func (r machineRaft) ProposeSession(ctx context.Context, s raft.Session, cmd []byte) (statemachines.Result, error) {
	return r.Propose(ctx, s.Group, cmd)
}

func (r machineRaft) OpenSession(_ context.Context, g ids.Group) (raft.Session, error) {
	return raft.Session{Group: g, Client: 7, Series: 1}, nil
}

func (r machineRaft) CloseSession(context.Context, raft.Session) error { return nil }

func (r machineRaft) Read(_ context.Context, _ ids.Group, query []byte) ([]byte, error) {
	data, err := r.m.Query(query)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "group kv/target refused the query")
	}
	return data, nil
}

func (r machineRaft) ProposeMany(ctx context.Context, g ids.Group, cmds [][]byte) []raft.Outcome {
	out := make([]raft.Outcome, len(cmds))
	for i, cmd := range cmds {
		out[i].Result, out[i].Err = r.Propose(ctx, g, cmd)
	}
	return out
}

func (r machineRaft) ReadEach(ctx context.Context, g ids.Group, queries [][]byte, take func([]byte, error) bool) error {
	for _, q := range queries {
		if !take(r.Read(ctx, g, q)) {
			break
		}
	}
	return nil
}

func (r machineRaft) Status(g ids.Group) (raft.Status, bool) {
	return raft.Status{Group: g, Name: "kv/target", Ready: true, Leading: true, Serving: true, LeaderHost: "h", Opened: true}, g == 1000
}

// GroupByName makes it a route.Local.
func (r machineRaft) GroupByName(name string) (ids.Group, bool) { return 1000, name == "kv/target" }

// Locate, FirstUse and Servers make it a route.Locator that knows no other group.
func (r machineRaft) Locate(context.Context, *hostpb.GroupRef) (*hostpb.Location, error) {
	return nil, fault.New(fault.GroupNotFound, "no such group")
}

// FirstUse makes no group.
func (r machineRaft) FirstUse(ctx context.Context, name string) (*hostpb.Location, error) {
	return r.Locate(ctx, &hostpb.GroupRef{Name: name})
}

func (r machineRaft) Servers(context.Context) ([]*hostpb.Server, error) { return nil, nil }

// target is a host with a real Router and one group, on a connection for raw bytes.
func target(t testing.TB) *grpc.ClientConn {
	t.Helper()
	pool, err := serve.NewPool(config.TLS{})
	require.NoError(t, err)
	m := machineRaft{kv.New()}
	r := route.New(route.Options{Self: "h", Raft: m, Local: m, Locator: m, Pool: pool})
	t.Cleanup(func() {
		require.NoError(t, r.Close())
		require.NoError(t, pool.Close())
	})
	return serveRouter(t, r, grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rawCodec{})))
}

// send calls a method with raw bytes.
func send(t testing.TB, conn *grpc.ClientConn, m protoreflect.MethodDescriptor, raw []byte) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var resp []byte
	return conn.Invoke(ctx, fmt.Sprintf("/%s/%s", m.Parent().FullName(), m.Name()), raw, &resp)
}

// requireClear accepts what tells a client something.
func requireClear(t testing.TB, m protoreflect.MethodDescriptor, raw []byte, err error) {
	t.Helper()
	st := status.Convert(err)
	switch st.Code() {
	case codes.OK, codes.InvalidArgument, codes.NotFound, codes.FailedPrecondition, codes.ResourceExhausted, codes.Unavailable:
		return
	case codes.Internal:
		if strings.Contains(st.Message(), "unmarshal") { // gRPC's own answer to bytes that are no message
			return
		}
	}
	t.Errorf("%s answers %v to %d bytes %.60x", m.FullName(), err, len(raw), raw)
}

func TestHostileRequests(t *testing.T) {
	conn := target(t)
	dice := rand.New(rand.NewPCG(3, 4))
	for _, m := range methods() {
		requireClear(t, m, nil, send(t, conn, m, nil))
		requireClear(t, m, nil, send(t, conn, m, []byte{0xff, 0xff, 0xff}))
		requireClear(t, m, nil, send(t, conn, m, make([]byte, 3<<20)))
		for range 60 {
			msg := dynamicpb.NewMessage(m.Input())
			fill(dice, msg, 4)
			raw, err := proto.MarshalOptions{AllowPartial: true}.Marshal(msg)
			require.NoError(t, err)
			if dice.IntN(4) == 0 {
				raw = append(raw, 0xfa, 0x7f, 0x03, 'a', 'b', 'c') // a field that nobody knows
			}
			requireClear(t, m, raw, send(t, conn, m, raw))
		}
	}
}

// fill sets some fields to random, extreme or contradictory values.
func fill(dice *rand.Rand, msg protoreflect.Message, depth int) {
	fields := msg.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		switch {
		case dice.IntN(4) == 0 || f.IsList() || f.IsMap():
		case f.Message() != nil:
			if depth > 0 {
				fill(dice, msg.Mutable(f).Message(), depth-1)
			}
		default:
			msg.Set(f, scalar(dice, f))
		}
	}
}

// scalar makes a value for a field.
func scalar(dice *rand.Rand, f protoreflect.FieldDescriptor) protoreflect.Value {
	number := []uint64{0, 1, 2, 7, 1000, 1001, math.MaxUint64, math.MaxUint64 - 1, dice.Uint64()}[dice.IntN(9)]
	text := []string{"", "kv/target", "kv/none", "kv", "/", "counter/x", strings.Repeat("x", 1+dice.IntN(100000)), "kv/a#b", "kv/\x00"}[dice.IntN(9)]
	switch f.Kind() { //nolint:exhaustive // the kinds that the services use
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(text)
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte(text))
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(number)
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(uint32(number))
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(number%2 == 0)
	default:
		return f.Default()
	}
}

// FuzzRequests sends raw bytes to every method.
func FuzzRequests(f *testing.F) {
	all := methods()
	for i := range all {
		f.Add(i, []byte{})
		f.Add(i, []byte{0x0a, 0x00})
		f.Add(i, []byte{0x0a, 0x09, 'k', 'v', '/', 't', 'a', 'r', 'g', 'e', 't', 0x12, 0x03, 0x0a, 0x01, 'k'})
	}
	conn := target(f)
	f.Fuzz(func(t *testing.T, method int, raw []byte) {
		m := all[int(uint(method)%uint(len(all)))]
		requireClear(t, m, raw, send(t, conn, m, raw))
	})
}
