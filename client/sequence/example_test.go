package sequence_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/drumline/drumline/client"
	"github.com/drumline/drumline/client/clienttest"
	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
)

// exampleT is what an example has for a test: it ends when the example does.
type exampleT struct {
	testing.TB
	ctx   context.Context //nolint:containedctx // as a test has one
	after []func()
}

func (t *exampleT) Helper()                  {}
func (t *exampleT) Cleanup(f func())         { t.after = append(t.after, f) }
func (t *exampleT) Context() context.Context { return t.ctx }

func (t *exampleT) TempDir() string {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// exampleClient is a client of a cluster with a sequence of that mode; in real life,
// client.Open makes it.
func exampleClient(mode sequencepb.Mode) (*client.Client, context.Context, func()) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t := &exampleT{ctx: ctx}
	c := clienttest.Start(t).Client()
	create := &sequencepb.CreateRequest{Group: "sequence/invoices", Create: &sequencepb.Create{Definition: &sequencepb.Definition{Mode: mode}}}
	if _, err := sequencepb.NewSequenceClient(c.Hosts()).Create(ctx, create); err != nil {
		panic(err)
	}
	return c, ctx, func() {
		for i := len(t.after) - 1; i >= 0; i-- {
			t.after[i]()
		}
		cancel()
	}
}

func ExampleSequence() {
	c, ctx, end := exampleClient(sequencepb.Mode_MODE_CACHED)
	defer end()
	invoices := c.Sequence("sequence/invoices")
	defer invoices.Close()
	for range 3 {
		id, err := invoices.Next(ctx)
		fmt.Println(id, err)
	}
	// Output:
	// 1 <nil>
	// 2 <nil>
	// 3 <nil>
}

func ExampleGapFree() {
	c, ctx, end := exampleClient(sequencepb.Mode_MODE_GAPFREE)
	defer end()
	invoices := c.GapFree("sequence/invoices")
	defer invoices.Close()
	first, err := invoices.Reserve(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	second, err := invoices.Reserve(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("reserved", first.Number(), second.Number())
	fmt.Println(second.Commit(ctx)) // the invoice was written
	fmt.Println(first.Cancel(ctx))  // this one was not
	again, err := invoices.Reserve(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("reserved", again.Number())
	// Output:
	// reserved 1 2
	// <nil>
	// <nil>
	// reserved 1
}

func ExampleTimeIDs() {
	c, ctx, end := exampleClient(sequencepb.Mode_MODE_TIME)
	defer end()
	ids := c.TimeIDs("sequence/invoices")
	defer ids.Close()
	a, err := ids.Next(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	b, err := ids.Next(ctx) // no round trip
	fmt.Println(a < b, err)
	fmt.Println("made within a minute:", time.Since(time.UnixMilli(a>>22)).Abs() < time.Minute)
	// Output:
	// true <nil>
	// made within a minute: true
}

func ExampleTimestamps() {
	c, ctx, end := exampleClient(sequencepb.Mode_MODE_TSO)
	defer end()
	oracle := c.Timestamps("sequence/invoices")
	defer oracle.Close()
	a, err := oracle.Next(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	b, err := oracle.Next(ctx)
	fmt.Println(a.Number < b.Number, err)
	fmt.Println("of this minute:", time.Since(a.Time()).Abs() < time.Minute)
	// Output:
	// true <nil>
	// of this minute: true
}
