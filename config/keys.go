package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// key is one leaf of a configuration struct, found by its yaml tags: api.listen.
type key struct {
	path  string
	doc   string
	value reflect.Value // settable
}

// env is the variable that sets the key: PREFIX_API_LISTEN.
func (k key) env(prefix string) string {
	return prefix + "_" + strings.ToUpper(strings.ReplaceAll(k.path, ".", "_"))
}

// flag is the flag that sets the key: api-listen.
func (k key) flag() string { return strings.NewReplacer(".", "-", "_", "-").Replace(k.path) }

// keysOf lists the leaves of a struct in the order of its fields.
func keysOf(v reflect.Value, prefix string) []key {
	var keys []key
	for _, f := range reflect.VisibleFields(v.Type()) {
		path, field := prefix+f.Tag.Get("yaml"), v.FieldByIndex(f.Index)
		if field.Kind() == reflect.Struct {
			keys = append(keys, keysOf(field, path+".")...)
			continue
		}
		keys = append(keys, key{path: path, doc: f.Tag.Get("doc"), value: field})
	}
	return keys
}

// setText sets a leaf from a flag or an environment variable: lists are comma
// separated, maps are key=value pairs.
func setText(v reflect.Value, text string) error {
	switch v.Interface().(type) {
	case []string:
		v.Set(reflect.ValueOf(splitList(text)))
		return nil
	case map[string]string:
		return setMap(v, splitList(text))
	}
	return setScalar(v, text)
}

func splitList(text string) []string {
	var items []string
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}

func setMap(v reflect.Value, pairs []string) error {
	m := make(map[string]string, len(pairs))
	for _, pair := range pairs {
		k, val, ok := strings.Cut(pair, "=")
		if _, twice := m[k]; !ok || k == "" || twice {
			return fmt.Errorf("want key=value,key=value, each key once (got %q)", pair)
		}
		m[k] = val
	}
	v.Set(reflect.ValueOf(m))
	return nil
}

// setScalar sets a leaf that is one word.
func setScalar(v reflect.Value, text string) error {
	if v.Type() == reflect.TypeFor[Duration]() {
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("want a duration like 30s or 100ms (got %q)", text)
		}
		v.SetInt(int64(d))
		return nil
	}
	var err error
	switch v.Kind() { //nolint:exhaustive // the kinds that configuration structs use
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		var b bool
		b, err = strconv.ParseBool(text)
		v.SetBool(b)
	case reflect.Int:
		var n int64
		n, err = strconv.ParseInt(text, 10, 0)
		v.SetInt(n)
	case reflect.Uint32, reflect.Uint64:
		var n uint64
		n, err = strconv.ParseUint(text, 10, v.Type().Bits())
		v.SetUint(n)
	default:
		err = fmt.Errorf("no reader for %s", v.Type())
	}
	if err != nil {
		return fmt.Errorf("want %s (got %q)", kindName(v.Type()), text)
	}
	return nil
}

// kindName says for people what a value of the type looks like.
func kindName(t reflect.Type) string {
	if t == reflect.TypeFor[Duration]() {
		return "a duration like 30s"
	}
	switch t.Kind() { //nolint:exhaustive // the kinds that configuration structs use
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "a whole number"
	case reflect.Uint32, reflect.Uint64:
		return "a whole number, not negative"
	case reflect.Slice:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "keys with values"
	default:
		return "text"
	}
}

// nearest returns the known word closest to an unknown one, or "" when none is
// near enough to be what was meant.
func nearest(unknown string, known []string) string {
	best, bestAt := "", 1+len(unknown)/3
	for _, k := range slices.Sorted(slices.Values(known)) {
		if d := distance(strings.ToLower(unknown), k); d < bestAt || (d == bestAt && best == "") {
			best, bestAt = k, d
		}
	}
	return best
}

// distance is the edit distance of two words.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}

func hint(unknown string, known []string) string {
	if n := nearest(unknown, known); n != "" {
		return fmt.Sprintf("did you mean %q?", n)
	}
	return "known keys: " + strings.Join(slices.Sorted(slices.Values(known)), ", ")
}

// textOf writes a leaf as a flag would take it.
func textOf(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case []string:
		return strings.Join(x, ",")
	case map[string]string:
		pairs := make([]string, 0, len(x))
		for _, k := range slices.Sorted(maps.Keys(x)) {
			pairs = append(pairs, k+"="+x[k])
		}
		return strings.Join(pairs, ",")
	}
	return fmt.Sprint(v.Interface())
}
