package replay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
)

// Number is a float64 that may be none: what JSON has no words for is written as a
// string, and read bare too, as Python writes it.
type Number float64

// UnmarshalJSON implements json.Unmarshaler.
func (n *Number) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	v, err := strconv.ParseFloat(string(bytes.Trim(data, `"`)), 64)
	if err != nil {
		return fmt.Errorf("%s is no number", data)
	}
	*n = Number(v)
	return nil
}

// MarshalJSON implements json.Marshaler.
func (n Number) MarshalJSON() ([]byte, error) {
	if v := float64(n); math.IsNaN(v) || math.IsInf(v, 0) {
		return json.Marshal(fmt.Sprint(v))
	}
	return json.Marshal(float64(n))
}

// same tells whether two numbers are one, or both none.
func same(a, b Number) bool {
	return a == b || (math.IsNaN(float64(a)) && math.IsNaN(float64(b)))
}

// quoted puts the bare words for numbers that are none into quotes, outside strings.
func quoted(data []byte) []byte {
	words := [][]byte{[]byte("NaN"), []byte("-Infinity"), []byte("Infinity")}
	var out []byte
	inside := false
	for i := 0; i < len(data); i++ {
		switch {
		case inside && data[i] == '\\' && i+1 < len(data):
			out = append(out, data[i])
			i++
		case data[i] == '"':
			inside = !inside
		case !inside:
			if w := wordAt(data[i:], words); w != nil {
				out = append(append(append(out, '"'), w...), '"')
				i += len(w) - 1
				continue
			}
		}
		out = append(out, data[i])
	}
	return out
}

func wordAt(data []byte, words [][]byte) []byte {
	for _, w := range words {
		if bytes.HasPrefix(data, w) {
			return w
		}
	}
	return nil
}
