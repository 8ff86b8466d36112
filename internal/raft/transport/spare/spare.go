// Package spare lends buffers and keeps few of them. A sync.Pool would hold whatever was
// once in flight until the second garbage collection after it, which on an idle host is
// minutes away.
package spare

// A crowd that starts fills many large buffers at once, and an idle host shall not hold
// them. To make a large one costs little beside filling it.
const (
	// most is how many buffers are kept.
	most = 32
	// largest is the capacity in bytes of the largest that is kept: a frame of the batch
	// of a thousand callers.
	largest = 128 << 10
)

// Buffer is a slice that travels by pointer.
type Buffer struct{ B []byte }

// Pool lends buffers to any goroutine. The zero Pool keeps none.
type Pool struct{ kept chan *Buffer }

// NewPool makes a Pool.
func NewPool() Pool { return Pool{kept: make(chan *Buffer, most)} }

// Get lends a buffer of size bytes, whatever they are.
func (p *Pool) Get(size int) *Buffer {
	var f *Buffer
	select {
	case f = <-p.kept:
	default:
		f = &Buffer{}
	}
	if cap(f.B) < size {
		f.B = make([]byte, size)
	}
	f.B = f.B[:size]
	return f
}

// Put takes a buffer back.
func (p *Pool) Put(f *Buffer) {
	if cap(f.B) > largest {
		return
	}
	select {
	case p.kept <- f:
	default:
	}
}
