package engine

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// With a cache, programs that are built without cgo end with a segmentation fault.
func TestTheLogStoreHasNoCache(t *testing.T) {
	for _, memory := range []bool{false, true} {
		require.Zero(t, Shards{Log: 1}.LogDB(memory).KVLRUCacheSize)
	}
}
