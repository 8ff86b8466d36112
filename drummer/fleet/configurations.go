package fleet

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/drumline/drumline/config/template"
	"github.com/drumline/drumline/drummer/fleet/rules"
	"github.com/drumline/drumline/drummer/fleet/words"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/statemachines"
)

// Limits of configurations, beside those of rules. With all of them reached, the record
// holds a third of a gigabyte of configurations; a real deployment holds some kilobytes.
const (
	maxConfigured     = 64 // apps
	keptRevisions     = 20
	maxFirstUses      = 1_000
	recoveredAuthor   = "a recovery of the record"
	unknownConfigured = "app %s has no configuration"
)

// descend gives an app's revisions, the newest first.
func (s *state) descend(app string, yield func(*fleetpb.Configuration) bool) {
	s.configurations.DescendLessOrEqual(&fleetpb.Configuration{App: app, Revision: math.MaxUint64}, func(c *fleetpb.Configuration) bool {
		return c.GetApp() == app && yield(c)
	})
}

// configuration in force for an app, or nil.
func (s *state) configuration(app string) *fleetpb.Configuration {
	var found *fleetpb.Configuration
	s.descend(app, func(c *fleetpb.Configuration) bool {
		found = c
		return false
	})
	return found
}

// store makes c the next revision of its app and forgets the oldest beyond the bound.
func (s *state) store(c *fleetpb.Configuration) {
	first := (s.incarnation-1)*incarnationSpan + 1
	c.Revision = max(s.configuration(c.GetApp()).GetRevision()+1, first)
	s.configurations.ReplaceOrInsert(c)
	s.revision++
	var kept int
	var old []*fleetpb.Configuration
	s.descend(c.GetApp(), func(c *fleetpb.Configuration) bool {
		if kept++; kept > keptRevisions {
			old = append(old, c)
		}
		return true
	})
	for _, o := range old {
		s.configurations.Delete(o)
	}
}

// reissue gives what is in force new revisions after a recovery: hosts and groups may
// have followed later ones, which the record has lost, and must follow it again.
func (s *state) reissue() {
	for c := range (&View{s: s.clone()}).Configurations() {
		next := rules.Content(c)
		next.AtUnixMs, next.Restores, next.Author = c.GetAtUnixMs(), c.GetRevision(), recoveredAuthor
		s.store(next)
	}
}

func (t *turn) applyConfiguration(c *fleetpb.ApplyConfiguration) *fleetpb.Result {
	wanted := c.GetConfiguration()
	if err := rules.CheckConfiguration(wanted); err != nil {
		return refuse(fleetpb.Code_CODE_INVALID, "configuration of app %s: %v", rules.Quote(wanted.GetApp()), err)
	}
	now := t.configuration(wanted.GetApp())
	switch {
	case now != nil && rules.SameContent(now, wanted): // also when it is asked for again after a lost answer
		return t.inForce(now, "revision %d says the same already", now.GetRevision())
	case c.GetBase() != 0 && c.GetBase() != now.GetRevision():
		return refuse(fleetpb.Code_CODE_CONFLICT, "revision %d is in force, the difference was taken from revision %d: look again", now.GetRevision(), c.GetBase())
	case now == nil && t.configured() >= maxConfigured:
		return refuse(fleetpb.Code_CODE_INVALID, "%d apps have a configuration already", maxConfigured)
	}
	next := clone(rules.Content(wanted))
	next.AtUnixMs, next.Author = t.at, wanted.GetAuthor()
	t.store(next)
	t.event("configuration-applied", "", "", "app %s, revision %d with %d templates%s", next.GetApp(), next.GetRevision(), len(next.GetTemplates()), words.By(next.GetAuthor()))
	return t.inForce(next, "")
}

// configured counts the apps that have a configuration.
func (s *state) configured() (n int) {
	for range (&View{s: s}).Configurations() {
		n++
	}
	return n
}

// inForce is the good answer to a change of a configuration.
func (t *turn) inForce(c *fleetpb.Configuration, format string, args ...any) *fleetpb.Result {
	r := done(format, args...)
	r.Revision = c.GetRevision()
	return r
}

func (t *turn) rollbackConfiguration(c *fleetpb.RollbackConfiguration) *fleetpb.Result {
	if err := rules.CheckOptional("author", c.GetAuthor()); err != nil {
		return refuse(fleetpb.Code_CODE_INVALID, "%v", err)
	}
	now := t.configuration(c.GetApp())
	old, _ := t.configurations.Get(&fleetpb.Configuration{App: c.GetApp(), Revision: c.GetRevision()})
	switch {
	case now == nil:
		return refuse(fleetpb.Code_CODE_NOT_FOUND, unknownConfigured, rules.Quote(c.GetApp()))
	case old == nil:
		return refuse(fleetpb.Code_CODE_NOT_FOUND, "revision %d of app %s is not kept", c.GetRevision(), c.GetApp())
	case rules.SameContent(now, old):
		return t.inForce(now, "revision %d says the same already", now.GetRevision())
	}
	next := clone(rules.Content(old))
	next.AtUnixMs, next.Author, next.Restores = t.at, c.GetAuthor(), old.GetRevision()
	t.store(next)
	t.event("configuration-rolled-back", "", "", "app %s, revision %d has the content of revision %d%s", next.GetApp(), next.GetRevision(), old.GetRevision(), words.By(next.GetAuthor()))
	return t.inForce(next, "")
}

// CheckFirstUse says what first_use would answer for a full name now, and changes nothing.
// When the group would be made the code is OK, the id is 0 and the spec is given.
func CheckFirstUse(v *View, full string) (*fleetpb.ItemResult, *fleetpb.Spec) {
	name, region := statemachines.CutRegion(full)
	item := &fleetpb.ItemResult{Name: name, Region: region}
	answer := func(code fleetpb.Code, format string, args ...any) (*fleetpb.ItemResult, *fleetpb.Spec) {
		item.Code, item.Detail = code, fmt.Sprintf(format, args...)
		return item, nil
	}
	app, err := statemachines.AppOf(full)
	if err != nil {
		item.Name, item.Region = "", ""
		return answer(fleetpb.Code_CODE_INVALID, "%v", err)
	}
	if old := v.ByName(full); old != nil {
		if item.Id = old.GetId(); old.GetState() == fleetpb.GroupState_GROUP_STATE_SEALING {
			return answer(fleetpb.Code_CODE_CONFLICT, "group %s is being deleted", full)
		}
		return answer(fleetpb.Code_CODE_OK, "exists already")
	}
	c := v.Configuration(app)
	t := template.Of(c, name)
	switch {
	case c == nil:
		return answer(fleetpb.Code_CODE_NOT_FOUND, "there is no group %s, and app %s has no configuration that could make it", full, app)
	case t == nil:
		return answer(fleetpb.Code_CODE_NOT_FOUND, "there is no group %s, and no template of app %s matches the name (revision %d)%s", full, app, c.GetRevision(), hint(c, name))
	case !t.GetAutoCreate():
		return answer(fleetpb.Code_CODE_NOT_FOUND, "there is no group %s, and template %s makes none on first use: an operator has to create it", full, rules.Quote(t.GetMatch()))
	case region == "" && len(t.GetEachRegion()) > 0:
		return answer(fleetpb.Code_CODE_NOT_FOUND, "there is no group %s, and template %s makes one in each of %s: say which region", full, rules.Quote(t.GetMatch()), strings.Join(t.GetEachRegion(), ", "))
	case region != "" && !slices.Contains(t.GetEachRegion(), region):
		return answer(fleetpb.Code_CODE_NOT_FOUND, "there is no group %s, and template %s makes none for that region", full, rules.Quote(t.GetMatch()))
	case v.GroupsOf(app) >= rules.Bound(c):
		return answer(fleetpb.Code_CODE_LIMIT, "there is no group %s, and app %s has %d groups already: its configuration allows first uses to make no more", full, app, v.GroupsOf(app))
	case v.GroupCount() >= rules.MaxGroups:
		return answer(fleetpb.Code_CODE_LIMIT, "there is no group %s, and the record holds %d groups already", full, rules.MaxGroups)
	}
	item.Code = fleetpb.Code_CODE_OK
	return item, rules.SpecOf(full, app, t)
}

// hint is what to say of a name that only a slash keeps from a template.
func hint(c *fleetpb.Configuration, group string) string {
	_, name, _ := strings.Cut(group, "/")
	if h := template.Hint(c.GetTemplates(), name); h != "" {
		return "; template " + h
	}
	return ""
}

// firstUse makes the groups that can be made; the others are answered one by one.
func (t *turn) firstUse(c *fleetpb.FirstUse) *fleetpb.Result {
	if n := len(c.GetNames()); n == 0 || n > maxFirstUses {
		return refuse(fleetpb.Code_CODE_INVALID, "%d names: want 1 to %d in one command", n, maxFirstUses)
	}
	result := done("")
	for _, name := range c.GetNames() {
		item, spec := CheckFirstUse(&View{s: t.state}, statemachines.NameIn(name, c.GetRegion()))
		if spec != nil {
			in := t.configuration(spec.GetApp())
			by := fmt.Sprintf("first use, by template %s", rules.Quote(template.Of(in, name).GetMatch()))
			item.Id = t.define(spec, nil, by, fmt.Sprintf(", on %s of revision %d", by, in.GetRevision())).GetId()
		}
		result.Items = append(result.Items, item)
	}
	return result
}
