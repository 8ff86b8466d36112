package kv_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/proto"

	kvpb "github.com/drumline/drumline/drummerpb/kv"
	"github.com/drumline/drumline/statemachines/kv"
	"github.com/drumline/drumline/statemachines/smtest"
)

func TestConformance(t *testing.T) {
	smtest.Run(t, smtest.Suite{App: kv.App(), Command: randomCommand, Query: randomQuery, Golden: "testdata/golden"})
}

func randomKey(r *rand.Rand) []byte {
	if r.IntN(20) == 0 {
		return nil
	}
	return fmt.Appendf(nil, "%c/%d", 'a'+rune(r.IntN(3)), r.IntN(8))
}

func randomCommand(r *rand.Rand) []byte {
	value := make([]byte, r.IntN(40))
	for i := range value {
		value[i] = byte(r.IntN(256))
	}
	switch r.IntN(5) {
	case 0:
		return remove(randomKey(r))
	case 1, 2:
		return cas(randomKey(r), r.Uint64N(60)*r.Uint64N(2), value)
	default:
		return put(randomKey(r), value)
	}
}

func randomQuery(r *rand.Rand) []byte {
	if r.IntN(2) == 0 {
		return get(randomKey(r))
	}
	prefix := []string{"", "", "a", "b/", "c/1", "zz"}[r.IntN(6)]
	return list(&kvpb.List{Prefix: []byte(prefix), After: randomKey(r), Limit: r.Uint32N(12), KeysOnly: r.IntN(2) == 0})
}

func encode(m proto.Message) []byte {
	data, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	return data
}

func put(key, value []byte) []byte {
	return encode(&kvpb.Command{Op: &kvpb.Command_Put{Put: &kvpb.Put{Key: key, Value: value}}})
}

func remove(key []byte) []byte {
	return encode(&kvpb.Command{Op: &kvpb.Command_Delete{Delete: &kvpb.Delete{Key: key}}})
}

func cas(key []byte, revision uint64, value []byte) []byte {
	return encode(&kvpb.Command{Op: &kvpb.Command_CompareAndSet{
		CompareAndSet: &kvpb.CompareAndSet{Key: key, ExpectedRevision: revision, Value: value},
	}})
}

func get(key []byte) []byte {
	return encode(&kvpb.Query{Op: &kvpb.Query_Get{Get: &kvpb.Get{Key: key}}})
}

func list(l *kvpb.List) []byte { return encode(&kvpb.Query{Op: &kvpb.Query_List{List: l}}) }
