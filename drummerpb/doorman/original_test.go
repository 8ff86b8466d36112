package doormanpb_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	doormanpb "github.com/drumline/drumline/drummerpb/doorman"
)

// original is the original's schema, written down once more from its public description: a
// message a line, its fields in the order of their numbers, which begin with 1. A field is
// name, type and label: ! required, ? optional, * repeated.
const original = `
NamedParameter: name string!, value string?
Algorithm: kind Algorithm.Kind!, lease_length int64!, refresh_interval int64!, parameters NamedParameter*, learning_mode_duration int64?
ResourceTemplate: identifier_glob string!, capacity double!, algorithm Algorithm!, safe_capacity double?, description string?
ResourceRepository: resources ResourceTemplate*
Lease: expiry_time int64!, refresh_interval int64!, capacity double!
ResourceRequest: resource_id string!, priority int64!, has Lease?, wants double!
GetCapacityRequest: client_id string!, resource ResourceRequest*
ResourceResponse: resource_id string!, gets Lease!, safe_capacity double?
Mastership: master_address string?
GetCapacityResponse: response ResourceResponse*, mastership Mastership?
PriorityBandAggregate: priority int64!, num_clients int64!, wants double!
ServerCapacityResourceRequest: resource_id string!, has Lease?, wants PriorityBandAggregate*
GetServerCapacityRequest: server_id string!, resource ServerCapacityResourceRequest*
ServerCapacityResourceResponse: resource_id string!, gets Lease!, algorithm Algorithm?, safe_capacity double?
GetServerCapacityResponse: response ServerCapacityResourceResponse*, mastership Mastership?
ReleaseCapacityRequest: client_id string!, resource_id string*
ReleaseCapacityResponse: mastership Mastership?
DiscoveryRequest:
DiscoveryResponse: mastership Mastership!, is_master bool!
`

// schema makes a proto2 schema of that text.
func schema(t *testing.T) protoreflect.MessageDescriptors {
	t.Helper()
	f := &descriptorpb.FileDescriptorProto{Name: proto.String("original.proto"), Package: proto.String("doorman"), Syntax: proto.String("proto2")}
	for line := range strings.Lines(strings.TrimSpace(original)) {
		name, fields, _ := strings.Cut(strings.TrimSpace(line), ":")
		m := &descriptorpb.DescriptorProto{Name: &name}
		for i, field := range strings.FieldsFunc(fields, func(r rune) bool { return r == ',' }) {
			m.Field = append(m.Field, fieldOf(t, strings.TrimSpace(field), int32(i+1)))
		}
		if name == "Algorithm" {
			kind := &descriptorpb.EnumDescriptorProto{Name: proto.String("Kind")}
			for i, value := range []string{"NO_ALGORITHM", "STATIC", "PROPORTIONAL_SHARE", "FAIR_SHARE"} {
				kind.Value = append(kind.Value, &descriptorpb.EnumValueDescriptorProto{Name: &value, Number: proto.Int32(int32(i))})
			}
			m.EnumType = append(m.EnumType, kind)
		}
		f.MessageType = append(f.MessageType, m)
	}
	file, err := protodesc.NewFile(f, nil)
	require.NoError(t, err)
	return file.Messages()
}

func fieldOf(t *testing.T, text string, number int32) *descriptorpb.FieldDescriptorProto {
	name, kind, ok := strings.Cut(text, " ")
	require.True(t, ok, text)
	label := map[string]descriptorpb.FieldDescriptorProto_Label{
		"!": descriptorpb.FieldDescriptorProto_LABEL_REQUIRED,
		"?": descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL,
		"*": descriptorpb.FieldDescriptorProto_LABEL_REPEATED,
	}[kind[len(kind)-1:]]
	f := &descriptorpb.FieldDescriptorProto{Name: &name, Number: &number, Label: &label}
	kind = kind[:len(kind)-1]
	plain, is := map[string]descriptorpb.FieldDescriptorProto_Type{
		"string": descriptorpb.FieldDescriptorProto_TYPE_STRING,
		"int64":  descriptorpb.FieldDescriptorProto_TYPE_INT64,
		"double": descriptorpb.FieldDescriptorProto_TYPE_DOUBLE,
		"bool":   descriptorpb.FieldDescriptorProto_TYPE_BOOL,
	}[kind]
	switch {
	case is:
		f.Type = &plain
	case kind == "Algorithm.Kind":
		f.Type, f.TypeName = descriptorpb.FieldDescriptorProto_TYPE_ENUM.Enum(), proto.String(".doorman."+kind)
	default:
		f.Type, f.TypeName = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE.Enum(), proto.String(".doorman."+kind)
	}
	return f
}

// Whoever has the original's schema reads what we write, to the last byte.
func TestTheOriginalsSchemaReadsEveryMessage(t *testing.T) {
	messages := schema(t)
	for name, g := range golden() {
		want, err := hex.DecodeString(strings.ReplaceAll(g.bytes, " ", ""))
		require.NoError(t, err)
		read := dynamicpb.NewMessage(messages.ByName(g.m.ProtoReflect().Descriptor().Name()))
		require.NoError(t, proto.Unmarshal(want, read), name)
		require.Empty(t, read.GetUnknown(), name)
		again, err := proto.MarshalOptions{Deterministic: true}.Marshal(read)
		require.NoError(t, err, name)
		require.Equal(t, want, again, name)
	}
	require.Equal(t, messages.Len(), doormanpb.File_doorman_doorman_proto.Messages().Len())
}

// Every required field of every message is on the wire when it is zero or empty, for the
// original refuses a message that lacks one; and a message that lacks one is neither written
// nor read here.
func TestRequiredFieldsAreThereWhenZero(t *testing.T) {
	messages := schema(t)
	for i := range messages.Len() {
		theirs := messages.Get(i)
		kind, err := protoregistry.GlobalTypes.FindMessageByName(theirs.FullName())
		require.NoError(t, err)
		m := kind.New()
		zeroed(m)
		data, err := proto.Marshal(m.Interface())
		require.NoError(t, err, theirs.Name())
		read := dynamicpb.NewMessage(theirs)
		require.NoError(t, proto.Unmarshal(data, read), theirs.Name())
		for n := range theirs.RequiredNumbers().Len() {
			number := theirs.RequiredNumbers().Get(n)
			require.True(t, read.Has(theirs.Fields().ByNumber(number)), "%s %d", theirs.Name(), number)
			lacks := proto.Clone(m.Interface())
			lacks.ProtoReflect().Clear(kind.Descriptor().Fields().ByNumber(number))
			_, err := proto.Marshal(lacks)
			require.Error(t, err, "%s without %d", theirs.Name(), number)
			part, err := proto.MarshalOptions{AllowPartial: true}.Marshal(lacks)
			require.NoError(t, err)
			require.Error(t, proto.Unmarshal(part, kind.New().Interface()), "%s without %d", theirs.Name(), number)
		}
	}
}

// zeroed sets the required fields of a message, and of those in them, to zero.
func zeroed(m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if f.Cardinality() != protoreflect.Required {
			continue
		}
		v := m.NewField(f)
		if f.Message() != nil {
			zeroed(v.Message())
		}
		m.Set(f, v)
	}
}
