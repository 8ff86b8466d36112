package limit_test

import (
	"context"
	"fmt"
	"net/http"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/drumline/drumline/client"
	"github.com/drumline/drumline/client/capacity"
	"github.com/drumline/drumline/client/limit"
)

// A worker that keeps to its share of the calls to a database, and asks for as much as it needs.
func ExampleNewAdaptive() {
	ctx := context.Background()
	c, err := client.Open(ctx, []string{"10.0.0.1:7001", "10.0.0.2:7001"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	r, err := c.Resource("db/main", capacity.WithPriority(10))
	if err != nil {
		fmt.Println(err)
		return
	}
	l := limit.NewAdaptive(r)
	defer l.Close()
	for l.Wait(ctx) == nil {
		fmt.Println("one call")
	}
}

// A gRPC client whose calls to one service share a rate, and a server that refuses what is
// too much at a time.
func ExampleUnaryClient() {
	serve := func(c *client.Client) error {
		rate, err := c.Resource("greeter", capacity.WithWants(100))
		if err != nil {
			return err
		}
		conn, err := grpc.NewClient("10.0.0.9:50051", grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithUnaryInterceptor(limit.UnaryClient(limit.Methods(limit.NewRate(rate)))))
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()

		atOnce, err := c.Resource("greeter-at-once", capacity.WithWants(16))
		if err != nil {
			return err
		}
		busy := limit.NoWait(limit.NewInFlight(atOnce))
		s := grpc.NewServer(grpc.UnaryInterceptor(limit.UnaryServer(limit.Methods(busy))))
		s.Stop()
		return nil
	}
	_ = serve
}

// An HTTP client that waits for its share, host by host, and a server that answers 429.
func ExampleTransport() {
	serve := func(c *client.Client) error {
		search, err := c.Resource("search", capacity.WithWants(20), capacity.WithFallback(1))
		if err != nil {
			return err
		}
		l := limit.NewRate(search)
		onlySearch := func(r *http.Request) limit.Limiter {
			if r.URL.Host == "search.example" {
				return l
			}
			return nil
		}
		web := &http.Client{Transport: limit.Transport(nil, onlySearch)}
		defer web.CloseIdleConnections()

		uploads, err := c.Resource("uploads", capacity.WithWants(4))
		if err != nil {
			return err
		}
		h := limit.Middleware(limit.Requests(limit.NoWait(limit.NewInFlight(uploads))))(http.FileServer(http.Dir(".")))
		_ = http.Server{Handler: h}
		return nil
	}
	_ = serve
}
