package statemachines

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Errors of names, queries and the registry.
var (
	// ErrInvalidQuery is wrapped by every error that Query returns for input it refuses.
	ErrInvalidQuery = errors.New("invalid query")
	// ErrInvalidName is wrapped by every error about the text of a name.
	ErrInvalidName = errors.New("invalid name")
	// ErrUnknownApp is wrapped when no app of that name is registered.
	ErrUnknownApp = errors.New("unknown app")
)

// Limits of names, in bytes.
const (
	MaxAppName   = 32
	MaxGroupName = 256
)

// Registry holds the apps of a program; a value that its main function fills.
type Registry struct {
	apps map[string]App
}

// NewRegistry checks the apps and returns them as a Registry.
func NewRegistry(apps ...App) (*Registry, error) {
	r := &Registry{apps: make(map[string]App, len(apps))}
	for _, a := range apps {
		if err := CheckAppName(a.Name); err != nil {
			return nil, err
		}
		if a.New == nil || a.Version == 0 {
			return nil, fmt.Errorf("app %q needs New and a Version of at least 1", a.Name)
		}
		if f := a.Follow; f != nil && (f.Command == nil || f.Revision == nil) {
			return nil, fmt.Errorf("app %q follows its configuration: it needs Command and Revision", a.Name)
		}
		if _, taken := r.apps[a.Name]; taken {
			return nil, fmt.Errorf("app %q is registered twice", a.Name)
		}
		r.apps[a.Name] = a
	}
	return r, nil
}

// App returns the app of that name, or an error that wraps ErrUnknownApp.
func (r *Registry) App(name string) (App, error) {
	a, ok := r.apps[name]
	if !ok {
		return App{}, fmt.Errorf("%w %q: this program has %s", ErrUnknownApp, name, strings.Join(r.Names(), ", "))
	}
	return a, nil
}

// Names lists the registered apps, sorted.
func (r *Registry) Names() []string {
	names := make([]string, 0, len(r.apps))
	for n := range r.apps {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// AppOf returns the app of a group's name, full or not: the part before the first slash.
func AppOf(group string) (string, error) {
	name, region := CutRegion(group)
	if err := errors.Join(CheckGroupName(name), CheckRegion(region)); err != nil {
		return "", err
	}
	app, _, _ := strings.Cut(name, "/")
	return app, nil
}

// CheckAppName says what is wrong with an app's name, or nil. It is a lower-case
// word of letters, digits and hyphens that begins with a letter.
func CheckAppName(name string) error {
	if name == "" || len(name) > MaxAppName {
		return fmt.Errorf("%w: app %q has %d bytes: write 1 to %d, like kv", ErrInvalidName, name, len(name), MaxAppName)
	}
	for i, c := range []byte(name) {
		letter := c >= 'a' && c <= 'z'
		if !letter && (i == 0 || (c != '-' && (c < '0' || c > '9'))) {
			return fmt.Errorf("%w: app %q: use lower-case letters, digits and hyphens, a letter first", ErrInvalidName, name)
		}
	}
	return nil
}

// CheckGroupName says what is wrong with a group's name, or nil: app/name, where
// name is any printable text without a hash sign (which introduces a family's key).
func CheckGroupName(group string) error {
	if len(group) > MaxGroupName {
		return fmt.Errorf("%w: group name has %d bytes, at most %d are allowed", ErrInvalidName, len(group), MaxGroupName)
	}
	app, name, ok := strings.Cut(group, "/")
	if !ok || app == "" || name == "" {
		return fmt.Errorf("%w: group %q: write app/name, like kv/demo", ErrInvalidName, group)
	}
	if err := CheckAppName(app); err != nil {
		return err
	}
	return checkText(group)
}
