package rules

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/statemachines"
)

// CheckHost says what is wrong with what a host says of itself, or nil.
func CheckHost(h *fleetpb.Host) error {
	for _, f := range []struct{ what, text string }{{"id", h.GetId()}, {"name", h.GetName()}, {"raft address", h.GetRaft()}, {"api address", h.GetApi()}} {
		if err := CheckText(f.what, f.text); err != nil {
			return err
		}
	}
	if err := CheckOptional("region", h.GetRegion()); err != nil {
		return err
	}
	if err := CheckOptional("zone", h.GetZone()); err != nil {
		return err
	}
	if err := CheckOptional("gossip address", h.GetGossip()); err != nil {
		return err
	}
	if h.GetBootEpoch() == 0 || h.GetBootEpoch() > math.MaxInt64 {
		return fmt.Errorf("boot epoch %d: a host counts its starts from 1", h.GetBootEpoch())
	}
	if h.GetLost() || h.GetRemoved() || h.GetWanted() != nil {
		return errors.New("a host does not say of itself that it is lost, removed, or what is wanted of it")
	}
	if err := checkLabels(h.GetLabels()); err != nil {
		return err
	}
	return checkApps(h.GetApps())
}

func checkApps(apps []*fleetpb.App) error {
	if len(apps) > maxApps {
		return fmt.Errorf("%d apps: at most %d are kept", len(apps), maxApps)
	}
	for i, a := range apps {
		if err := statemachines.CheckAppName(a.GetName()); err != nil {
			return err
		}
		if a.GetVersion() == 0 {
			return fmt.Errorf("app %s: versions count from 1", a.GetName())
		}
		if i > 0 && apps[i-1].GetName() >= a.GetName() {
			return errors.New("apps must be sorted and named once each")
		}
	}
	return nil
}

// knows tells whether the host's program has the app.
func knows(h *fleetpb.Host, app string) bool { return VersionOf(h, app) > 0 }

// VersionOf returns the newest behaviour version of the app that the host's
// program knows; 0 when it does not know the app.
func VersionOf(h *fleetpb.Host, app string) uint32 {
	i, ok := slices.BinarySearchFunc(h.GetApps(), app, func(a *fleetpb.App, name string) int {
		return compare(a.GetName(), name)
	})
	if !ok {
		return 0
	}
	return h.GetApps()[i].GetVersion()
}

func compare(a, b string) int { return strings.Compare(a, b) }

// maxWeight of a host in percent.
const maxWeight = 10_000

// CheckWanted says what is wrong with what is wanted of a host, or nil.
func CheckWanted(w *fleetpb.HostWanted) error {
	_, known := fleetpb.HostDuty_name[int32(w.GetDuty())]
	switch {
	case !known:
		return fmt.Errorf("duty %d", w.GetDuty())
	case w.GetWeight() > maxWeight:
		return fmt.Errorf("a weight of %d: want 1 to %d percent", w.GetWeight(), maxWeight)
	case w.GetMaintenanceUntilUnixMs() < 0 || w.GetMaintenanceUntilUnixMs() > math.MaxInt64/2:
		return errors.New("a maintenance that ends at no time")
	case len(w.GetReason()) > MaxText:
		return fmt.Errorf("the reason has %d bytes, at most %d are kept", len(w.GetReason()), MaxText)
	}
	return errors.Join(CheckOptional("reason", w.GetReason()), CheckOptional("author", w.GetAuthor()))
}
