package formation

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Fleet identifies what the drummers of this map keep the record of. Their ids are
// random and made with their data directories, so that drummers that are formed anew
// never have the same one, and hosts of the old record do not take orders of the new.
func (m Members) Fleet() string {
	h := sha256.New()
	for _, index := range slices.Sorted(maps.Keys(m)) {
		_, _ = fmt.Fprintf(h, "%d=%s\n", index, m[index]) // a hash does not fail
	}
	const length = 16
	return strings.ToLower(base32.StdEncoding.EncodeToString(h.Sum(nil)))[:length]
}
