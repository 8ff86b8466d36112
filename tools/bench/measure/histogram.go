package measure

import (
	"math/bits"
	"time"
)

// histogram counts latencies in buckets a thirty-second of an octave wide: recording
// one allocates nothing, and a quantile is off by at most 3 %.
type histogram struct {
	counts [octaves * perOctave]uint32
	n      uint64
}

const (
	fraction  = 5 // bits
	perOctave = 1 << fraction
	octaves   = 40 // of nanoseconds: far longer than any run
)

func (h *histogram) record(d time.Duration) {
	h.counts[bucketOf(d)]++
	h.n++
}

// bucketOf keeps a duration's highest bits.
func bucketOf(d time.Duration) int {
	v := uint64(max(d, 0))
	if v < perOctave {
		return int(v)
	}
	shift := bits.Len64(v) - fraction - 1
	return min((shift+1)*perOctave+int(v>>shift)-perOctave, octaves*perOctave-1)
}

// upper is the longest duration of a bucket.
func upper(bucket int) time.Duration {
	if bucket < perOctave {
		return time.Duration(bucket)
	}
	shift := bucket/perOctave - 1
	return time.Duration(uint64(bucket%perOctave+perOctave+1)<<shift - 1)
}

func (h *histogram) add(other *histogram) {
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.n += other.n
}

// quantile returns the duration that a share of q of all does not exceed.
func (h *histogram) quantile(q float64) time.Duration {
	rank := uint64(q * float64(h.n))
	var seen uint64
	for i, n := range h.counts {
		if seen += uint64(n); n > 0 && seen > rank || seen == h.n {
			return upper(i)
		}
	}
	return 0
}
