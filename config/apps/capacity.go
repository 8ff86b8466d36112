package apps

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/config/template"
	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
)

// Limits of a resource, those of the machine that keeps it.
const (
	appCapacity  = "capacity"
	maxLease     = 10 * 365 * 24 * 3600 // seconds
	maxClients   = 1_000_000
	maxListed    = 64 // floors, parameters
	maxWord      = 256
	maxText      = 1_024
	maxResources = 1_000_000
	// maxParents bounds the levels of a tree of resources.
	maxParents = 16
)

// algorithms are the original's names and ours, and the original's numbers.
func algorithms() map[string]capacitypb.Algorithm {
	return map[string]capacitypb.Algorithm{
		"NO_ALGORITHM": capacitypb.Algorithm_ALGORITHM_NONE, "0": capacitypb.Algorithm_ALGORITHM_NONE,
		"STATIC": capacitypb.Algorithm_ALGORITHM_STATIC, "1": capacitypb.Algorithm_ALGORITHM_STATIC,
		"PROPORTIONAL_SHARE": capacitypb.Algorithm_ALGORITHM_PROPORTIONAL_SHARE, "2": capacitypb.Algorithm_ALGORITHM_PROPORTIONAL_SHARE,
		"FAIR_SHARE": capacitypb.Algorithm_ALGORITHM_FAIR_SHARE, "3": capacitypb.Algorithm_ALGORITHM_FAIR_SHARE,
		"PRIORITY": capacitypb.Algorithm_ALGORITHM_PRIORITY,
	}
}

// resource is one entry of the file.
type resource struct {
	*placed
	path       string
	match      string
	capacity   *float64
	safe       *float64
	definition *capacitypb.Definition
	algorithm  *algorithm
	maxClients int64
	broken     bool // it is no mapping; that was said
}

// algorithm is its block.
type algorithm struct {
	at              ast.Node
	lease, refresh  *int64
	learning        *int64
	kind            capacitypb.Algorithm
	parametersGiven []*capacitypb.Parameter
	broken          bool // something in it cannot be read; that was said
}

// Capacity reads Doorman's configuration file, with what we add to it: parent, floors,
// max_clients, replicas, regions and auto_create of a resource, and max_resources.
func Capacity(name string, text []byte) (File, error) {
	r := &reader{file: name}
	c := &fleetpb.Configuration{App: appCapacity, Source: text}
	body := r.document(text)
	if len(r.errs) > 0 {
		return File{}, errors.Join(r.errs...)
	}
	var resources []*resource
	var bound int64
	if !isNull(body) {
		r.object(body, "", map[string]field{
			"resources": func(n ast.Node, path string) {
				r.list(n, path, func(n ast.Node, path string) { resources = append(resources, r.resource(n, path)) })
			},
			"max_resources": r.integer(&bound, 1, maxResources),
		})
	}
	c.MaxGroups = uint32(bound)
	for _, res := range resources {
		c.Templates = append(c.Templates, r.compile(res))
	}
	r.checkOrder(resources)
	r.checkParents(resources, c)
	if len(r.errs) > 0 {
		return File{}, errors.Join(r.errs...)
	}
	return File{Configuration: c, Warnings: r.warnings}, nil
}

var _ Reader = Capacity

// resource reads one entry.
func (r *reader) resource(n ast.Node, path string) *resource {
	res := &resource{placed: defaultPlaced(n), path: path, definition: &capacitypb.Definition{}}
	d := res.definition
	_, mapping := n.(ast.MapNode)
	res.broken = !mapping
	r.object(n, path, res.fields(r, map[string]field{
		"identifier_glob": r.text(&res.match),
		"capacity":        optional(&res.capacity, r.number),
		"safe_capacity":   optional(&res.safe, r.number),
		"description":     r.text(&d.Description),
		"parent":          r.text(&d.Parent),
		"max_clients":     r.integer(&res.maxClients, 1, maxClients),
		"algorithm":       func(n ast.Node, path string) { res.algorithm = r.algorithm(n, path) },
		"floors": func(n ast.Node, path string) {
			r.list(n, path, func(n ast.Node, path string) {
				f := &capacitypb.Floor{}
				r.object(n, path, map[string]field{"priority": r.integer(&f.Priority, math.MinInt64, math.MaxInt64), "capacity": r.number(&f.Capacity)})
				d.Floors = append(d.Floors, f)
			})
		},
	}))
	return res
}

// optional notes that there is a value.
func optional[T any](to **T, read func(*T) field) field {
	return func(n ast.Node, path string) {
		*to = new(T)
		read(*to)(n, path)
	}
}

func (r *reader) algorithm(n ast.Node, path string) *algorithm {
	a := &algorithm{at: n, kind: capacitypb.Algorithm_ALGORITHM_NONE}
	said := len(r.errs)
	defer func() { a.broken = len(r.errs) > said }()
	seconds := func(to *int64) field { return r.integer(to, math.MinInt64, math.MaxInt64) }
	r.object(n, path, map[string]field{
		"kind":                   func(n ast.Node, path string) { a.kind = r.kind(n, path) },
		"lease_length":           optional(&a.lease, seconds),
		"refresh_interval":       optional(&a.refresh, seconds),
		"learning_mode_duration": optional(&a.learning, seconds),
		"parameters": func(n ast.Node, path string) {
			r.list(n, path, func(n ast.Node, path string) {
				p := &capacitypb.Parameter{}
				r.object(n, path, map[string]field{"name": r.text(&p.Name), "value": r.text(&p.Value)})
				a.parametersGiven = append(a.parametersGiven, p)
			})
		},
	})
	return a
}

func (r *reader) kind(n ast.Node, path string) capacitypb.Algorithm {
	word := ""
	switch x := n.(type) {
	case *ast.StringNode:
		if _, err := strconv.Atoi(x.Value); err != nil { // a number in quotes is no kind
			word = x.Value
		}
	case *ast.IntegerNode:
		word = fmt.Sprint(x.Value)
	}
	kind, ok := algorithms()[word]
	if !ok {
		r.fail(n, path, "%q is no algorithm; use NO_ALGORITHM, STATIC, PROPORTIONAL_SHARE, FAIR_SHARE or PRIORITY, in capitals", strings.TrimSpace(n.GetToken().Value))
		return capacitypb.Algorithm_ALGORITHM_NONE
	}
	return kind
}

// compile checks an entry and makes its template.
func (r *reader) compile(res *resource) *fleetpb.Template {
	if res.broken {
		return &fleetpb.Template{}
	}
	fail := func(format string, args ...any) { r.fail(res.at, res.path, format, args...) }
	if err := template.Check(res.match); err != nil {
		fail("identifier_glob: %v", err)
	}
	if len(res.match) > maxWord || !utf8.ValidString(res.match) {
		fail("identifier_glob: has %d bytes; want at most %d, in UTF-8", len(res.match), maxWord)
	}
	if strings.Contains(res.match, "#") {
		r.warn(res.at, res.path, "identifier_glob %q has a hash sign, which no resource's name may have", res.match)
	}
	d := res.definition
	r.amounts(res)
	r.lease(res)
	if len(d.GetDescription()) > maxText {
		fail("description: has %d bytes; want at most %d", len(d.GetDescription()), maxText)
	}
	d.MaxClients = uint32(res.maxClients)
	options, err := proto.MarshalOptions{Deterministic: true}.Marshal(d)
	if err != nil {
		fail("%v", err)
	}
	return res.template(r, res.path, res.match, options)
}

// amounts checks capacities and floors.
func (r *reader) amounts(res *resource) {
	fail := func(format string, args ...any) { r.fail(res.at, res.path, format, args...) }
	d := res.definition
	d.Capacity, d.SafeCapacity = res.capacity, res.safe
	switch {
	case res.capacity != nil && *res.capacity < 0:
		r.warn(res.at, res.path, "capacity: %v is negative and counts as 0", *res.capacity)
	case res.capacity != nil || d.GetParent() != "":
	case res.safe == nil:
		fail("has neither capacity nor safe_capacity (the original accepts that and dies of it): say how much there is")
	default:
		r.warn(res.at, res.path, "has no capacity, which counts as 0")
		d.Capacity = new(float64)
	}
	if res.safe != nil && *res.safe < 0 && *res.safe != -1 {
		r.warn(res.at, res.path, "safe_capacity: %v is negative and counts as -1: no limit", *res.safe)
		*res.safe = -1
	}
	if len(d.GetFloors()) > maxListed {
		fail("floors: are %d; want at most %d", len(d.GetFloors()), maxListed)
	}
	seen := map[int64]bool{}
	for _, f := range d.GetFloors() {
		if f.GetCapacity() < 0 {
			fail("floors: %v for priority %d is negative", f.GetCapacity(), f.GetPriority())
		}
		if seen[f.GetPriority()] {
			fail("floors: priority %d is there twice", f.GetPriority())
		}
		seen[f.GetPriority()] = true
	}
}

// lease checks the algorithm's block.
func (r *reader) lease(res *resource) {
	a, d := res.algorithm, res.definition
	if a == nil {
		r.fail(res.at, res.path, "has no algorithm (the original accepts that where the glob is not *, and dies of it): say kind, lease_length and refresh_interval")
		return
	}
	if a.broken {
		return
	}
	at := res.path + ".algorithm"
	fail := func(format string, args ...any) { r.fail(a.at, at, format, args...) }
	d.Algorithm = a.kind
	if len(d.GetFloors()) > 0 && a.kind != capacitypb.Algorithm_ALGORITHM_PRIORITY {
		r.warn(res.at, res.path, "floors: only kind PRIORITY knows them")
	}
	if a.refresh == nil {
		fail("has no refresh_interval")
	}
	if a.lease == nil {
		fail("has no lease_length")
	}
	if a.refresh != nil && *a.refresh < 1 {
		fail("refresh_interval: is %d; want at least 1 second", *a.refresh)
	}
	if a.lease != nil && (*a.lease < 1 || *a.lease > maxLease) {
		fail("lease_length: is %d; want 1 to %d seconds", *a.lease, maxLease)
	}
	if a.lease == nil || a.refresh == nil {
		return
	}
	if *a.lease < *a.refresh {
		fail("lease_length: %d is less than refresh_interval, %d: leases would end before they are refreshed", *a.lease, *a.refresh)
		return
	}
	d.LeaseLengthMs, d.RefreshIntervalMs = *a.lease*1000, *a.refresh*1000
	if a.learning != nil {
		ms := min(max(*a.learning, 0), maxLease) * 1000
		d.LearningModeMs = &ms
	}
	r.parameters(a, at)
	d.Parameters = a.parametersGiven
}

// parameters are carried and never read.
func (r *reader) parameters(a *algorithm, at string) {
	if len(a.parametersGiven) > maxListed {
		r.fail(a.at, at, "parameters: are %d; want at most %d", len(a.parametersGiven), maxListed)
	}
	for _, p := range a.parametersGiven {
		if len(p.GetName()) > maxWord || len(p.GetValue()) > maxWord {
			r.fail(a.at, at, "parameters: %.32q is longer than %d bytes", p.GetName(), maxWord)
		}
	}
}

// checkOrder wants * last, and warns of what can never be used.
func (r *reader) checkOrder(resources []*resource) {
	first := map[string]bool{}
	star := false
	for i, res := range resources {
		if res.match == "*" && i != len(resources)-1 {
			r.fail(res.at, res.path, "identifier_glob * is not the last entry: move it to the end")
		}
		star = star || res.match == "*"
		if first[res.match] {
			r.warn(res.at, res.path, "identifier_glob %q is there before; this entry is never used", res.match)
		}
		first[res.match] = true
	}
	if !star {
		r.errs = append(r.errs, fmt.Errorf("%s: resources: there is no entry for *: add one at the end, for all names that no other matches", r.file))
	}
}

// checkParents refuses parents that are no resource, and trees that lead in a circle.
func (r *reader) checkParents(resources []*resource, c *fleetpb.Configuration) {
	parents := map[*fleetpb.Template]string{}
	for i, res := range resources {
		parents[c.GetTemplates()[i]] = res.definition.GetParent()
	}
	for i, res := range resources {
		name := res.definition.GetParent()
		if name == "" {
			continue
		}
		if !strings.HasPrefix(name, appCapacity+"/") || len(name) == len(appCapacity)+1 || strings.Contains(name, "#") {
			r.fail(res.at, res.path, "parent: %q is no resource; write capacity/NAME", name)
			continue
		}
		if chain := chainOf(name, c, parents); chain != "" {
			r.fail(res.at, res.path, "parent: entry %d leads to %s", i+1, chain)
		}
	}
}

// chainOf follows parents upwards and says what is wrong with the way; empty when it ends.
func chainOf(name string, c *fleetpb.Configuration, parents map[*fleetpb.Template]string) string {
	way := []string{name}
	for {
		t := template.Of(c, name)
		switch {
		case t == nil:
			return fmt.Sprintf("%s, which no entry matches", strings.Join(way, ", then "))
		case parents[t] == "":
			return ""
		case len(way) >= maxParents:
			return fmt.Sprintf("%s: a circle, or more than %d levels", strings.Join(way[:4], ", then ")+" …", maxParents)
		}
		name = parents[t]
		for _, before := range way {
			if before == name {
				return strings.Join(append(way, name), ", then ") + ": a circle"
			}
		}
		way = append(way, name)
	}
}
