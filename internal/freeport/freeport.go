// Package freeport finds ports that can be given up and taken again.
//
// A port that the system chose is of the range that it takes for outgoing connections
// too: as soon as its process is down, anybody's call may have it, and the process can't
// come back on its address. Ports from here are below that range.
package freeport

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

const (
	low, high = 10240, 32000 // Linux takes those from 32768 for outgoing connections
	tries     = 200
)

// Listen listens on a free port of loopback. The caller closes it.
func Listen() (net.Listener, error) {
	var err error
	for range tries {
		var ln net.Listener
		port := strconv.Itoa(low + rand.IntN(high-low)) //nolint:gosec // any will do
		if ln, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", port)); err == nil {
			return ln, nil
		}
	}
	return nil, fmt.Errorf("no free port found in %d tries: %w", tries, err)
}

// Addresses returns addresses with a free port each, all different.
func Addresses(n int) ([]string, error) {
	var held []net.Listener // until all are chosen, so that none is given twice
	defer func() {
		for _, ln := range held {
			_ = ln.Close() // only to free the port
		}
	}()
	var addrs []string
	for range n {
		ln, err := Listen()
		if err != nil {
			return nil, err
		}
		held, addrs = append(held, ln), append(addrs, ln.Addr().String())
	}
	return addrs, nil
}
