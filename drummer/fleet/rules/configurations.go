package rules

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/config/template"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/statemachines"
)

// Limits of one revision of a configuration.
const (
	// MaxTemplates and MaxConfiguration (bytes) bound one revision.
	MaxTemplates     = 1_000
	MaxConfiguration = 256 << 10
	// DefaultMaxGroups bounds an app's groups where its configuration says nothing.
	DefaultMaxGroups = 10_000
)

// CheckConfiguration says what is wrong with what somebody wants of an app, or nil.
func CheckConfiguration(c *fleetpb.Configuration) error {
	if err := statemachines.CheckAppName(c.GetApp()); err != nil {
		return err
	}
	if err := CheckOptional("author", c.GetAuthor()); err != nil {
		return err
	}
	if n := len(c.GetTemplates()); n > MaxTemplates {
		return fmt.Errorf("%d templates: at most %d are kept", n, MaxTemplates)
	}
	if n := proto.Size(Content(c)); n > MaxConfiguration {
		return fmt.Errorf("it has %d bytes with its source: at most %d are kept", n, MaxConfiguration)
	}
	if c.GetMaxGroups() > MaxGroups {
		return fmt.Errorf("a bound of %d groups: the record holds at most %d", c.GetMaxGroups(), MaxGroups)
	}
	for i, t := range c.GetTemplates() {
		if err := checkTemplate(c.GetApp(), t); err != nil {
			return fmt.Errorf("template %d, %s: %w", i+1, Quote(t.GetMatch()), err)
		}
	}
	return nil
}

func checkTemplate(app string, t *fleetpb.Template) error {
	return errors.Join(
		CheckOptional("match", t.GetMatch()),
		template.Check(t.GetMatch()),
		checkEach(app, t),
	)
}

// checkEach checks the groups that a template makes: one of a name, or one in each region.
func checkEach(app string, t *fleetpb.Template) error {
	each := t.GetEachRegion()
	if len(each) == 0 {
		return CheckSpec(SpecOf(app+"/x", app, t))
	}
	if len(t.GetRegions()) > 0 {
		return errors.New("regions is a rule for one group, and each_region makes one in each: give one of the two")
	}
	if len(each) > maxRegions {
		return fmt.Errorf("%d regions in each_region: at most %d make sense", len(each), maxRegions)
	}
	for i, region := range each {
		if region == "" || i > 0 && each[i-1] >= region {
			return errors.New("each_region: regions must be sorted and named once each")
		}
		if err := CheckSpec(SpecOf(statemachines.NameIn(app+"/x", region), app, t)); err != nil {
			return fmt.Errorf("each_region: region %s: %w", Quote(region), err)
		}
	}
	return nil
}

// SpecOf is what a template wants of the group of that full name.
func SpecOf(full, app string, t *fleetpb.Template) *fleetpb.Spec {
	name, region := statemachines.CutRegion(full)
	return Settle(&fleetpb.Spec{
		Name: name, Region: region, App: app, Replicas: t.GetReplicas(), Regions: t.GetRegions(), Require: t.GetRequire(), Forbid: t.GetForbid(),
		Isolation: t.GetIsolation(), Leaders: t.GetLeaders(), DownAfterMs: t.GetDownAfterMs(), Raft: t.GetRaft(),
	})
}

// Bound is how many groups of the app first uses may make, with those there are.
func Bound(c *fleetpb.Configuration) int {
	if c.GetMaxGroups() == 0 {
		return DefaultMaxGroups
	}
	return int(c.GetMaxGroups())
}

// Content is what a revision says, without when and by whom.
func Content(c *fleetpb.Configuration) *fleetpb.Configuration {
	return &fleetpb.Configuration{App: c.GetApp(), Source: c.GetSource(), Templates: c.GetTemplates(), MaxGroups: c.GetMaxGroups()}
}

// SameContent tells whether two revisions say the same.
func SameContent(a, b *fleetpb.Configuration) bool { return proto.Equal(Content(a), Content(b)) }
