package client

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	hostpb "github.com/drumline/drumline/drummerpb/host"
)

// Kinds of servers, as Directory.Servers names them; unknownKind is an address that
// the application gave and no server has claimed yet.
const (
	unknownKind  = ""
	drummerKind  = "drummer"
	nodehostKind = "nodehost"
)

// suspicion is how long an address that did not answer is asked last.
const suspicion = 5 * time.Second

// servers is what the client knows of the cluster's servers.
type servers struct {
	mu      sync.Mutex
	given   []string             // as the application named them; not changed after Open
	kinds   map[string]string    // guarded by mu: address to kind, of given and learned servers
	leader  string               // guarded by mu: drummer that led when last heard of; may be empty
	suspect map[string]time.Time // guarded by mu: address to the end of its suspicion
}

// newServers knows only what the application said.
func newServers(given []string) *servers {
	s := &servers{given: given, kinds: map[string]string{}, suspect: map[string]time.Time{}}
	for _, a := range given {
		s.kinds[a] = unknownKind
	}
	return s
}

// learn takes over a list of servers. The addresses given at Open stay known
// whatever the list says: they are what is left when the whole cluster has moved.
func (s *servers) learn(list []*hostpb.Server) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kinds, leader := map[string]string{}, ""
	for _, a := range s.given {
		kinds[a] = s.kinds[a]
	}
	for _, server := range list {
		if server.GetApi() == "" || (server.GetKind() != drummerKind && server.GetKind() != nodehostKind) {
			continue
		}
		kinds[server.GetApi()] = server.GetKind()
		if server.GetLeader() && server.GetKind() == drummerKind {
			leader = server.GetApi()
		}
	}
	s.kinds = kinds
	if leader != "" {
		s.leader = leader
	}
}

// isOther notes that the server at addr is not of that kind: it does not have the service.
func (s *servers) isOther(addr, kind string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.kinds[addr]; !known {
		return
	}
	if kind == drummerKind {
		s.kinds[addr] = nodehostKind
	} else {
		s.kinds[addr] = drummerKind
	}
}

// failed asks addr last for a while; answered ends that.
func (s *servers) failed(addr string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.suspect[addr] = time.Now().Add(suspicion)
}

// answered ends the suspicion of addr.
func (s *servers) answered(addr string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.suspect, addr)
}

// suspected tells whether addr did not answer lately.
func (s *servers) suspected(addr string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	end, ok := s.suspect[addr]
	if ok && time.Now().After(end) {
		delete(s.suspect, addr)
		return false
	}
	return ok
}

// setLeader notes the drummer that leads.
func (s *servers) setLeader(addr string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leader = addr
}

// leading returns the drummer that led when last heard of; may be empty.
func (s *servers) leading() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leader
}

// known tells whether addr is a server's, or was given.
func (s *servers) known(addr string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.kinds[addr]
	return ok
}

// of returns the addresses to ask for a service of that kind, in random order, so
// that clients spread over the servers: those of the kind first, then those of which
// nothing is known. An empty kind means any server.
func (s *servers) of(kind string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var certain, maybe []string
	for addr, k := range s.kinds {
		switch {
		case k == kind || kind == unknownKind:
			certain = append(certain, addr)
		case k == unknownKind:
			maybe = append(maybe, addr)
		}
	}
	shuffle(certain)
	shuffle(maybe)
	return slices.Concat(certain, maybe)
}

// shuffle orders a list at random.
func shuffle(list []string) {
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
}
