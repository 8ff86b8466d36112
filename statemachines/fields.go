package statemachines

import (
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// HasField tells whether a protobuf message has one of these fields, at its top. Of data
// that is no message it tells what comes before the fault.
func HasField(data []byte, fields ...protowire.Number) bool {
	for len(data) > 0 {
		num, _, n := protowire.ConsumeField(data)
		if n < 0 {
			return false
		}
		if slices.Contains(fields, num) {
			return true
		}
		data = data[n:]
	}
	return false
}
