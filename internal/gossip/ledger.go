package gossip

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/drumline/drumline/internal/gossip/guard"
)

// Reason is why something that came in was refused; a label of a metric.
type Reason string

// Reasons.
const (
	// Foreign is of another deployment, or of somebody who does not know of deployments.
	Foreign Reason = "foreign"
	// Forged is sealed with a key that this process does not have, or not at all.
	Forged Reason = "forged"
	// Oversized has more bytes than any message has.
	Oversized Reason = "oversized"
	// Malformed is sealed well, and no message.
	Malformed Reason = "malformed"
	// Refused is a member that says of itself what no process would say.
	Refused Reason = "refused"
	// Stale is an earlier start of a member that is heard: old news, or an old copy of its
	// data directory.
	Stale Reason = "stale"
	// Conflict is a second process under the id of one that is heard, at another address.
	Conflict Reason = "conflict"
	// Crowded came while too many streams were open.
	Crowded Reason = "crowded"
)

// reasons are all of them, for metrics that are there before anything happens.
func reasons() []Reason {
	return []Reason{Foreign, Forged, Oversized, Malformed, Refused, Stale, Conflict, Crowded}
}

// quiet is for how long a reason is not logged again: strangers must not fill the log.
const quiet = time.Minute

// ledger counts what was refused. memberlist says that in its log only, so its log ends
// here: each line is classed by its words, which a test holds against the version in use.
type ledger struct {
	log *slog.Logger

	mu      sync.Mutex // guards the rest
	n       map[Reason]uint64
	warned  map[Reason]time.Time
	badKeys string // why keys could not be read the last time
}

func newLedger(log *slog.Logger) *ledger {
	return &ledger{log: log, n: make(map[Reason]uint64), warned: make(map[Reason]time.Time)}
}

// clue is a part of a line that tells the reason.
type clue struct {
	words  string
	reason Reason
}

// clues in the order in which they are looked for: "failed to receive" has many causes.
func clues() []clue {
	return []clue{
		{"ignoring alive message", ""}, // counted where it was refused
		{"Conflicting address", Conflict},
		{"unacceptable label", Foreign},
		{"label", Foreign},
		{"could decrypt", Forged},
		{"Decrypt packet failed", Forged},
		{"is not encrypted", Forged},
		{"cannot decrypt", Forged},
		{"unsupported encryption version", Forged},
		{"too small to decrypt", Forged},
		{"larger than limit", Oversized},
		{"exceeds limit", Oversized},
		{"the stream is longer", ""}, // counted by the guard
		{"Too many pending", Crowded},
		{"ailed to decode", Malformed},
		{"not supported", Malformed},
		{"invalid msgType", Malformed},
		{"invalid checksum", Malformed},
		{"missing message type", Malformed},
		{"truncated", Malformed},
		{"too short", Malformed},
		{"decompress", Malformed},
		{"protocol version(s) are wrong", Refused},
		{"Vsn is not present", Refused},
		{"Failed to read remote state", Malformed},
		{"Failed to receive user message", Malformed},
		{"failed to receive", Malformed},
	}
}

// Write takes a line of memberlist's log.
func (l *ledger) Write(line []byte) (int, error) {
	text := string(bytes.TrimSpace(line))
	if !strings.Contains(text, "[DEBUG]") {
		for _, c := range clues() {
			if strings.Contains(text, c.words) {
				if c.reason != "" {
					l.note(c.reason, text)
				}
				return len(line), nil
			}
		}
	}
	l.log.Debug("memberlist", "line", text)
	return len(line), nil
}

// guarded counts what the guard refused.
func (l *ledger) guarded(r guard.Refusal) {
	if r == guard.Crowded {
		l.count(Crowded)
		return
	}
	l.count(Oversized)
}

func (l *ledger) count(r Reason) { l.note(r, "") }

// note counts, and warns now and then.
func (l *ledger) note(r Reason, line string) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n[r]++
	level := slog.LevelDebug
	if r != Stale && now.Sub(l.warned[r]) > quiet {
		l.warned[r] = now
		level = slog.LevelWarn
	}
	l.log.Log(context.Background(), level, "gossip is refused", "reason", string(r), "total", l.n[r], "line", line)
}

// keys logs that keys can't be read, once for each cause.
func (l *ledger) keys(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if text != "" && text != l.badKeys {
		l.log.Warn("gossip's keys can't be read; those in use stay", "err", err)
	}
	l.badKeys = text
}

// refused tells how often something was refused for a reason.
func (l *ledger) refused(r Reason) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.n[r]
}
