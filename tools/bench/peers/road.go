package main

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/client"
	kvpb "github.com/drumline/drumline/drummerpb/kv"
)

// road is what an application does with one client: the operations on the groups.
type road struct {
	set    keys
	groups []*client.KV
	puts   [][]byte // by key, the commands that are proposed bare
}

func newRoad(c *client.Client, groups []string, set keys) *road {
	r := &road{set: set}
	for _, name := range groups {
		r.groups = append(r.groups, c.KV(name))
	}
	for key := range set.names {
		r.puts = append(r.puts, r.command(key))
	}
	return r
}

func (r *road) put(ctx context.Context, group, key int) error {
	_, err := r.groups[group].Put(ctx, []byte(r.set.names[key]), []byte(r.set.value))
	return err
}

func (r *road) get(ctx context.Context, group, key int) error {
	entry, found, err := r.groups[group].Get(ctx, []byte(r.set.names[key]))
	if err != nil {
		return err
	}
	return r.judge(found, entry.Value, key)
}

// judge tells whether a read found what was stored.
func (r *road) judge(found bool, value []byte, key int) error {
	if !found || string(value) != r.set.value {
		return fmt.Errorf("drumline has lost key %s", r.set.names[key])
	}
	return nil
}

// propose gives the group the command of a put without the client's KV around it.
func (r *road) propose(ctx context.Context, group, key int) error {
	_, err := r.groups[group].Group().Propose(ctx, r.puts[key])
	return err
}

// putBatch stores keys with one call. The commands are made here, because KV makes
// them in a put too.
func (r *road) putBatch(ctx context.Context, group int, keys []int) error {
	commands := make([][]byte, len(keys))
	for i, key := range keys {
		commands[i] = r.command(key)
	}
	answers, err := r.groups[group].Group().ProposeBatch(ctx, commands)
	if err != nil {
		return err
	}
	for _, a := range answers {
		if a.Err != nil {
			return a.Err
		}
		result := &kvpb.Result{}
		if err := proto.Unmarshal(a.Data, result); err != nil {
			return fmt.Errorf("decode an answer: %w", err)
		}
		if result.GetOutcome() != kvpb.Outcome_OUTCOME_OK {
			return fmt.Errorf("drumline refused a put: %s", result.GetDetail())
		}
	}
	return nil
}

// command is the put of a key.
func (r *road) command(key int) []byte {
	put := &kvpb.Put{Key: []byte(r.set.names[key]), Value: []byte(r.set.value)}
	return encode(&kvpb.Command{Op: &kvpb.Command_Put{Put: put}})
}

// getBatch reads keys with one call.
func (r *road) getBatch(ctx context.Context, group int, keys []int) error {
	queries := make([][]byte, len(keys))
	for i, key := range keys {
		queries[i] = encode(&kvpb.Query{Op: &kvpb.Query_Get{Get: &kvpb.Get{Key: []byte(r.set.names[key])}}})
	}
	answers, err := r.groups[group].Group().ReadBatch(ctx, queries)
	if err != nil {
		return err
	}
	for i, raw := range answers {
		answer := &kvpb.Answer{}
		if err := proto.Unmarshal(raw, answer); err != nil {
			return fmt.Errorf("decode an answer: %w", err)
		}
		var value []byte
		if entries := answer.GetEntries(); len(entries) == 1 {
			value = entries[0].GetValue()
		}
		if err := r.judge(answer.GetFound(), value, keys[i]); err != nil {
			return err
		}
	}
	return nil
}

// encode makes bytes of a message that has nothing which could not be encoded.
func encode(m proto.Message) []byte {
	raw, _ := proto.Marshal(m) // fails on invalid text only, and these have none
	return raw
}
