package statemachines

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
)

func TestHasField(t *testing.T) {
	field := func(num protowire.Number) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), []byte("x"))
	}
	for name, c := range map[string]struct {
		data []byte
		has  bool
	}{
		"empty":                      {nil, false},
		"first":                      {field(3), true},
		"the other":                  {field(4), true},
		"not it":                     {field(1), false},
		"behind another":             {append(field(1), field(3)...), true},
		"its tag longer than it may": {[]byte{0x9a, 0x80, 0x00, 1, 'x'}, true},
		"broken":                     {[]byte{0x1a, 9}, false},
		"before the fault":           {append(field(3), 0x1a, 9), true},
	} {
		require.Equal(t, c.has, HasField(c.data, 3, 4), name)
	}
}
