// Package replay runs recorded decisions of a capacity server through the pure
// machine and says where its grants differ.
package replay

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// File is a file of vectors.
type File struct {
	// Algorithms are histories of one resource each.
	Algorithms []Vector `json:"algorithm_vectors"`
	// Simulations are histories under the rules of the original's simulation.
	Simulations []Simulation `json:"simulation_vectors"`
}

// Vector is a history of one resource. Times are seconds.
type Vector struct {
	ID              string   `json:"id"`
	Class           string   `json:"class"` // core or quirk
	Algorithm       string   `json:"algorithm"`
	Capacity        float64  `json:"capacity"`
	LeaseLength     float64  `json:"lease_length"`
	RefreshInterval float64  `json:"refresh_interval"`
	Learning        *float64 `json:"learning_mode_duration"` // null: as long as a lease
	Safe            *float64 `json:"configured_safe_capacity"`
	MasterSince     float64  `json:"master_since"`
	Steps           []Step   `json:"steps"`
}

// Step is a request, a release or a change of the definition.
type Step struct {
	At  float64 `json:"at_time"`
	Op  string  `json:"op"` // get, release or config
	Ask Ask     `json:"request"`
	// Expected is what the original did; Clamped what its formula gives when every
	// grant is forced into what was wanted; Ideal the max-min share.
	Expected Expected `json:"expected"`
	Clamped  *Number  `json:"clamped_variant_grant"`
	Ideal    *Number  `json:"max_min_ideal_share"`

	Client string `json:"client"` // of a release

	Capacity     *float64 `json:"capacity"` // of a config, as what follows
	Algorithm    *string  `json:"algorithm"`
	Lease        *float64 `json:"lease_length"`
	Refresh      *float64 `json:"refresh_interval"`
	Safe         *float64 `json:"configured_safe_capacity"`
	ParentExpiry *float64 `json:"parent_expiry_at"`
}

// Ask is a request.
type Ask struct {
	Client   string `json:"client"`
	Has      Number `json:"has"`
	Wants    Number `json:"wants"`
	Weight   *int64 `json:"subclients"` // absent: one
	Priority int64  `json:"priority"`
	Bands    []Band `json:"bands"`
}

// Band is one priority of a server's request.
type Band struct {
	Priority int64  `json:"priority"`
	Clients  int64  `json:"num_clients"`
	Wants    Number `json:"wants"`
}

// Expected is what the original answered; no grant when it refused.
type Expected struct {
	Grant *Number `json:"grant"`
}

// weight of the request; one if the vector does not say.
func (a Ask) weight() int64 {
	if a.Weight == nil {
		return 1
	}
	return *a.Weight
}

// Simulation is a history under the rules of the original's simulation.
type Simulation struct {
	ID              string           `json:"id"`
	Algorithm       string           `json:"algorithm"`
	Capacity        float64          `json:"capacity"`
	LeaseLength     float64          `json:"lease_length"`
	RefreshInterval float64          `json:"refresh_interval"`
	OwnExpiry       *float64         `json:"server_capacity_expires_at"`
	Level           float64          `json:"server_level"`
	Decay           float64          `json:"decay_factor"`
	Steps           []SimulationStep `json:"steps"`
}

// SimulationStep is a request.
type SimulationStep struct {
	At      float64  `json:"at_time"`
	Client  string   `json:"client"`
	Wants   float64  `json:"wants"`
	Grant   float64  `json:"expected_grant"`
	Expiry  *float64 `json:"expected_expiry_at"`
	Refresh *float64 `json:"expected_refresh_interval"`
}

// Read reads a file of vectors.
func Read(r io.Reader) (*File, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("read vectors: %w", err)
	}
	f := &File{}
	if err := json.Unmarshal(quoted(data), f); err != nil {
		return nil, fmt.Errorf("read vectors: %w", err)
	}
	if len(f.Algorithms)+len(f.Simulations) == 0 {
		return nil, errors.New("the file holds no vectors: want algorithm_vectors or simulation_vectors")
	}
	return f, nil
}
