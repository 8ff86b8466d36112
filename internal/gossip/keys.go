package gossip

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/hashicorp/memberlist"
)

// newRing reads the keys. Without one there is no gossip.
func newRing(read func() ([][]byte, error)) (*memberlist.Keyring, error) {
	if read == nil {
		return nil, errors.New("gossip: there is no key; it is never open")
	}
	keys, err := read()
	if err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	if len(keys) == 0 {
		return nil, errors.New("gossip: there is no key; it is never open")
	}
	ring, err := memberlist.NewKeyring(keys, keys[0])
	if err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	return ring, nil
}

// rekey takes keys that have changed since. Keys that can't be read change nothing: those
// in use are good still.
func (g *Gossip) rekey() {
	keys, err := g.o.Keys()
	if err == nil && len(keys) == 0 {
		err = errors.New("there is no key")
	}
	if err == nil {
		err = turn(g.ring, keys)
	}
	g.ledger.keys(err)
}

// turn makes the ring have the keys and no others, the first one for sealing.
func turn(ring *memberlist.Keyring, keys [][]byte) error {
	same := func(a []byte) func([]byte) bool { return func(b []byte) bool { return bytes.Equal(a, b) } }
	for _, k := range keys {
		if err := ring.AddKey(k); err != nil {
			return err
		}
	}
	if err := ring.UseKey(keys[0]); err != nil {
		return err
	}
	for _, old := range slices.Clone(ring.GetKeys()) {
		if slices.ContainsFunc(keys, same(old)) {
			continue
		}
		if err := ring.RemoveKey(old); err != nil {
			return err
		}
	}
	return nil
}
