// Package operand looks at what stands where a command wants a name. An empty text is nearly
// always a variable of a script that was not set, and what the command made of it would not be
// what was meant; one that is not UTF-8 is no name anywhere, and cannot travel.
package operand

import (
	"strings"
	"unicode/utf8"
)

// examples shows what stands for the words of a usage.
func examples() map[string]string {
	return map[string]string{
		"ADDRESS": "10.0.0.7:9121", "COPY": "kv/copy", "DRUMMER": "drummer-2", "GROUP": "kv/demo", "HOST": "host-1", "ID": "42",
		"KIND": "balance", "NAME": "app/name", "OPERATION": "42", "REGION": "east", "RESOURCE": "fair",
	}
}

// mayBeEmpty tells which words an empty text may stand for.
func mayBeEmpty(word string) bool {
	switch word {
	case "DATA", "PREFIX", "VALUE", "WORD":
		return true
	}
	return false
}

// mayBeBytes tells which words stand for bytes, or for the name of a file.
func mayBeBytes(word, usage string) bool {
	switch word {
	case "DATA", "KEY", "VALUE", "FILE", "DIR", "FILE|DIR":
		return true
	}
	return word == "PREFIX" && strings.Contains(usage, "GROUP") // of keys
}

// Wrong says what is wrong with a text that stands for a name: it is empty, or not UTF-8.
// usage is like "GROUP [DATA]". It returns nothing when all is well.
func Wrong(usage string, texts []string) string {
	words := strings.Fields(strings.NewReplacer("[", "", "]", "", "...", "").Replace(usage))
	if len(words) == 0 {
		return ""
	}
	for i, text := range texts {
		word := words[min(i, len(words)-1)] // the last one may stand for many
		switch {
		case text == "" && !mayBeEmpty(word):
			return word + " is empty: write one" + like(word)
		case !utf8.ValidString(text) && !mayBeBytes(word, usage):
			return word + " is not UTF-8: write one" + like(word)
		}
	}
	return ""
}

// like is an example for each of the alternatives of a word.
func like(word string) string {
	var known []string
	for one := range strings.SplitSeq(word, "|") {
		if e := examples()[one]; e != "" {
			known = append(known, e)
		}
	}
	if len(known) == 0 {
		return ""
	}
	return ", like " + strings.Join(known, " or ")
}
