package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	keyCount  = 9600 // a multiple of the numbers of groups
	valueSize = 16
	fillers   = 256
	stride    = 7919 // a prime: workers begin far from each other
)

// keys are what both sides store, and one value for all.
type keys struct {
	names []string
	value string
}

func newKeys() keys {
	k := keys{value: strings.Repeat("v", valueSize)}
	for i := range keyCount {
		k.names = append(k.names, fmt.Sprintf("key-%05d", i))
	}
	return k
}

// pick is the group and the keys of a worker's turn: keys are spread over the groups,
// and so are the turns of each worker.
func (k keys) pick(worker, turn, groups, n int) (group int, list []int) {
	group, list = (worker+turn)%groups, make([]int, n)
	for i := range list {
		list[i] = group + groups*((worker*stride+turn*n+i)%(len(k.names)/groups))
	}
	return group, list
}

// pickOne is pick of one key.
func (k keys) pickOne(worker, turn, groups int) (group, key int) {
	group = (worker + turn) % groups
	return group, group + groups*((worker*stride+turn)%(len(k.names)/groups))
}

// eachKey does something for n keys, many at a time, and ends at the first error.
func eachKey(n int, do func(i int) error) error {
	var g errgroup.Group
	g.SetLimit(fillers)
	for i := range n {
		g.Go(func() error { return do(i) })
	}
	return g.Wait()
}

// until tries again until it works or ctx ends.
func until(ctx context.Context, try func() error) error {
	again := time.NewTicker(poll)
	defer again.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-again.C:
		}
	}
}
