package spare

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFewAreKept(t *testing.T) {
	pool := NewPool()
	crowd := make([]*Buffer, 10*most)
	for i := range crowd {
		crowd[i] = pool.Get(100 + i)
	}
	pool.Put(pool.Get(largest + 1))
	require.Empty(t, pool.kept, "a large buffer is not kept")
	for _, f := range crowd {
		pool.Put(f)
	}
	require.Len(t, pool.kept, most)
	f := pool.Get(100)
	require.Same(t, crowd[0], f, "what is kept is used again")
	require.Len(t, f.B, 100)
	require.Len(t, pool.Get(1000).B, 1000, "also if it has to grow")

	var none Pool
	none.Put(none.Get(10))
	require.NotSame(t, f, none.Get(10))
}
