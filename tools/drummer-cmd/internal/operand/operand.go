// Package operand looks at what stands where a command wants a name. An empty text is nearly
// always a variable of a script that was not set, and what the command made of it would not be
// what was meant.
package operand

import "strings"

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

// Empty says what is wrong if a text is empty that must not be; usage is like
// "GROUP [DATA]". It returns nothing when all is well.
func Empty(usage string, texts []string) string {
	words := strings.Fields(strings.NewReplacer("[", "", "]", "", "...", "").Replace(usage))
	for i, text := range texts {
		if text != "" || len(words) == 0 {
			continue
		}
		word := words[min(i, len(words)-1)] // the last one may stand for many
		if mayBeEmpty(word) {
			continue
		}
		return word + " is empty: write one" + like(word)
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
