package capacity_test

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/drumline/drumline/client/capacity"
)

// A program that follows its capacity, at an original Doorman or at any host of a cluster.
func ExampleNew() {
	conn, err := grpc.NewClient("10.0.0.1:5101", grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = conn.Close() }()
	c := capacity.New(conn, capacity.WithID("worker-7"))
	defer c.Close()
	r, err := c.Resource("db", capacity.WithWants(50), capacity.WithFallback(1))
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := r.Await(context.Background()); err != nil {
		fmt.Println(err)
		return
	}
	for s := range r.Changes() {
		fmt.Printf("%v: %v a second until %v\n", s.Basis, s.Capacity, s.Until)
	}
}
