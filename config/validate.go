package config

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds of what a configuration may say. They reject what would fail later in a
// less readable way, not what is merely unwise.
const (
	maxText      = 128
	maxLabels    = 32
	minTick      = time.Millisecond
	maxTick      = 10 * time.Second
	maxTicks     = 10_000
	maxBootGrace = 10 * time.Minute
	// maxClockOffset is more than clocks of machines that somebody looks after are off.
	maxClockOffset = time.Hour
	// minUnloadAfter keeps a group that is used now and then from being loaded over
	// and over: to load it costs more than to let it sleep for so long.
	minUnloadAfter = 10 * time.Second
)

// problems collects what is wrong, so that one run names everything.
type problems struct{ errs []error }

// add notes a problem as "path: problem (got v); hint".
func (p *problems) add(path, problem string, got any, hint string, args ...any) {
	if s, ok := got.(string); ok {
		got = strconv.Quote(s)
	}
	p.errs = append(p.errs, fmt.Errorf("%s: %s (got %v); %s", path, problem, got, fmt.Sprintf(hint, args...)))
}

func (p *problems) join() error { return errors.Join(p.errs...) }

// process checks what every process must say about itself.
func (p *problems) process(name, deployment, dataDir string, drummers []string) {
	p.text("name", name, "give this process a name of its own")
	p.text("deployment", deployment, "name the cluster; all its processes say the same")
	if dataDir == "" {
		p.add("data_dir", "is not set", dataDir, "name the directory that keeps this process's identity and data")
	}
	if len(drummers) == 0 {
		p.add("drummers", "is empty", "[]", "list the gRPC addresses of all drummers")
	}
	for i, a := range drummers {
		path := fmt.Sprintf("drummers[%d]", i)
		if problem := addressProblem(a, false); problem != "" {
			p.add(path, problem, a, "write host:port of a drummer's gRPC port")
		}
		if first := slices.Index(drummers, a); first != i {
			p.add(path, fmt.Sprintf("repeats drummers[%d]", first), a, "list each drummer once")
		}
	}
}

// text checks a required word for people.
func (p *problems) text(path, s, hint string) {
	switch {
	case s == "":
		p.add(path, "is not set", s, "%s", hint)
	case len(s) > maxText:
		p.add(path, "is too long", len(s), "use at most %d bytes", maxText)
	case !printable(s):
		p.add(path, "has a character that does not print", s, "use printable characters")
	}
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// ports checks the three ports and that no two of them are one.
func (p *problems) ports(api, raft, http Listener) {
	named := []struct {
		path     string
		l        Listener
		optional bool
	}{{"api", api, false}, {"raft", raft, false}, {"http", http, true}}
	for i, n := range named {
		if n.l.Listen == "" && n.optional {
			continue
		}
		p.listener(n.path, n.l)
		for _, o := range named[:i] {
			if samePort(n.l.Listen, o.l.Listen) {
				p.add(n.path+".listen", "is the port of "+o.path+".listen", n.l.Listen, "give each its own port")
			}
		}
	}
}

func (p *problems) listener(path string, l Listener) {
	if problem := addressProblem(l.Listen, true); problem != "" {
		p.add(path+".listen", problem, l.Listen, "write host:port, like 127.0.0.1:9221")
		return
	}
	if l.Advertise != "" {
		if problem := addressProblem(l.Advertise, false); problem != "" {
			p.add(path+".advertise", problem, l.Advertise, "write the host:port that others can reach")
		}
		return
	}
	host, _, err := net.SplitHostPort(l.Listen)
	if err == nil && unspecified(host) && path != "http" {
		p.add(path+".advertise", "is needed because "+path+".listen takes any address", l.Listen, "write the host:port that others can reach")
	}
}

// addressProblem says what is wrong with host:port; empty when nothing is.
func addressProblem(s string, bind bool) string {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "is not host:port"
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return "has no port number"
	}
	if !bind && n == 0 {
		return "has port 0"
	}
	if !bind && unspecified(host) {
		return "names no host that others can reach"
	}
	return ""
}

func unspecified(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || (ip != nil && ip.IsUnspecified())
}

// samePort tells whether two binds collide: same port on the same host, or on any.
func samePort(a, b string) bool {
	ha, pa, errA := net.SplitHostPort(a)
	hb, pb, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || pa != pb || pa == "0" {
		return false
	}
	return ha == hb || unspecified(ha) || unspecified(hb)
}

// secure checks the certificates and that nothing unprotected is reachable from
// another machine.
func (p *problems) secure(t TLS, insecure bool, api, raft, http Listener) {
	p.tls(t)
	if t.Enabled() || insecure {
		return
	}
	for _, n := range []struct {
		path string
		l    Listener
	}{{"api", api}, {"raft", raft}, {"http", http}} {
		if host, _, err := net.SplitHostPort(n.l.Listen); err == nil && !loopback(host) {
			p.add(n.path+".listen", "is off loopback without tls", n.l.Listen, "set tls.ca, tls.cert and tls.key, or insecure: true")
		}
	}
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

func (p *problems) tls(t TLS) {
	if !t.Enabled() {
		if t.ServerName != "" {
			p.add("tls.server_name", "is set without tls.ca, tls.cert and tls.key", t.ServerName, "set these too, or leave it out")
		}
		return
	}
	missing := false
	for _, f := range []struct{ path, value string }{{"tls.ca", t.CA}, {"tls.cert", t.Cert}, {"tls.key", t.Key}} {
		if f.value == "" {
			missing = true
			p.add(f.path, "is not set", f.value, "tls needs all of ca, cert and key")
		}
	}
	if missing {
		return
	}
	if _, err := t.Load(); err != nil {
		p.errs = append(p.errs, fmt.Errorf("tls: %w; name readable PEM files that belong together", err))
	}
}

func (p *problems) log(l Log) {
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, l.Level) {
		p.add("log.level", "is unknown", l.Level, "use debug, info, warn or error")
	}
	if !slices.Contains([]string{"auto", "text", "json"}, l.Format) {
		p.add("log.format", "is unknown", l.Format, "use auto, text or json")
	}
}

func (p *problems) raft(tick Duration, election, heartbeat, snapshot uint64) {
	if tick < minTick || tick > maxTick {
		p.add("tick", "is out of range", tick, "use %s to %s", minTick, maxTick)
	}
	if heartbeat < 1 || heartbeat > maxTicks {
		p.add("heartbeat_ticks", "is out of range", heartbeat, "use 1 to %d", maxTicks)
	}
	if election > maxTicks {
		p.add("election_ticks", "is out of range", election, "use at most %d", maxTicks)
	} else if election <= 2*heartbeat {
		p.add("election_ticks", fmt.Sprintf("is not more than twice heartbeat_ticks (%d)", heartbeat), election,
			"use ten times heartbeat_ticks, so that one lost heartbeat starts no election")
	}
	if snapshot < 1 {
		p.add("snapshot_entries", "is out of range", snapshot, "use 1 or more")
	}
}

// sleep checks what becomes of idle groups.
func (p *problems) sleep(hibernate bool, unloadAfter, election Duration) {
	// 4: an election takes two of its timeouts, and a lost one must not look like idleness.
	if least := max(minUnloadAfter, 4*election); unloadAfter != 0 && unloadAfter < least {
		p.add("unload_after", "is out of range", unloadAfter, "use 0s for never, or %s and more", least)
	}
	if unloadAfter != 0 && !hibernate {
		p.add("unload_after", "is set without hibernate", unloadAfter, "set hibernate: true, or leave it out: only groups that sleep are unloaded")
	}
}

// storage checks where data is kept.
func (p *problems) storage(storage, walDir string) {
	switch {
	case storage != StorageDisk && storage != StorageMemory:
		p.add("storage", "is unknown", storage, "use disk or, where nothing needs to last, memory")
	case storage == StorageMemory && walDir != "":
		p.add("wal_dir", "is set with storage: memory", walDir, "leave it out: there is no log on disk")
	}
}

func (p *problems) labels(labels map[string]string) {
	if len(labels) > maxLabels {
		p.add("labels", "has too many entries", len(labels), "use at most %d", maxLabels)
	}
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		if k == "" || strings.ContainsAny(k, "=,") || !printable(k) || !printable(labels[k]) || len(k)+len(labels[k]) > maxText {
			p.add("labels."+k, "is not a label", labels[k], "use printable text, a key without = and comma, %d bytes in all", maxText)
		}
	}
}
