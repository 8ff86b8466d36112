package client_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/client"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	kvpb "github.com/drumline/drumline/drummerpb/kv"
)

// exampleCluster is one fake nodehost with one key, for the example to talk to.
func exampleCluster() (addresses []string, stop func()) {
	t := &exampleT{}
	h := newCluster(t).add("nodehost")
	value := []byte(nil)
	h.propose = func(_ context.Context, n int, req *hostpb.ProposeRequest) (*hostpb.ProposeResponse, error) {
		cmd := &kvpb.Command{}
		if err := proto.Unmarshal(req.GetCommand(), cmd); err != nil {
			return nil, saying("INVALID", "")
		}
		value = cmd.GetPut().GetValue()
		data, err := proto.Marshal(&kvpb.Result{Outcome: kvpb.Outcome_OUTCOME_OK, Revision: uint64(n)})
		return &hostpb.ProposeResponse{Data: data}, err
	}
	h.read = func(context.Context, int, *hostpb.ReadRequest) (*hostpb.ReadResponse, error) {
		data, err := proto.Marshal(&kvpb.Answer{Found: true, Entries: []*kvpb.Entry{{Value: value, Revision: 1}}})
		return &hostpb.ReadResponse{Data: data}, err
	}
	return []string{h.addr}, t.stop
}

// exampleT collects the clean-ups of an example.
type exampleT struct {
	testing.TB
	after []func()
}

func (t *exampleT) Helper()          {}
func (t *exampleT) Cleanup(f func()) { t.after = append(t.after, f) }

func (t *exampleT) stop() {
	for _, f := range t.after {
		f()
	}
}

func Example() {
	addresses, stop := exampleCluster() // in real life: the cluster's gRPC addresses
	defer stop()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := client.Open(ctx, addresses)
	if err != nil {
		fmt.Println("open:", err)
		return
	}
	defer c.Close()

	kv := c.KV("kv/demo")
	revision, err := kv.Put(ctx, []byte("greeting"), []byte("hello"))
	switch {
	case err == nil:
		fmt.Println("stored at revision", revision)
	case client.OutcomeOf(err) == client.Unknown:
		fmt.Println("look before you repeat it:", err)
	default:
		fmt.Println("surely not stored:", err)
	}

	entry, found, err := kv.Get(ctx, []byte("greeting"))
	fmt.Println(string(entry.Value), found, err)

	s, err := c.Group("kv/demo").Session(ctx) // exactly once, whatever gets lost
	if err != nil {
		fmt.Println("session:", err)
		return
	}
	command, err := proto.Marshal(&kvpb.Command{Op: &kvpb.Command_Put{Put: &kvpb.Put{Key: []byte("greeting"), Value: []byte("bye")}}})
	if err == nil {
		_, err = s.Propose(ctx, command)
	}
	fmt.Println(err, s.Close(ctx))
	// Output:
	// stored at revision 1
	// hello true <nil>
	// <nil> <nil>
}
