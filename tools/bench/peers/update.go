package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
)

// The table stands between these in a page; the text around them stays.
const (
	beginMarker = "<!-- bench:peers -->\n"
	endMarker   = "<!-- /bench:peers -->\n"
)

// checkMarkers tells early that a page has no place for the table.
func checkMarkers(path string) error {
	if path == "" {
		return nil
	}
	page, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if _, err := between(string(page), ""); err != nil {
		return fmt.Errorf("%w: %s: %w", errUsage, path, err)
	}
	return nil
}

// update writes the table into the page; an empty path means none.
func update(path string, r *report) error {
	if path == "" {
		return nil
	}
	page, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("update the page: %w", err)
	}
	var table bytes.Buffer
	if err := r.print(&table); err != nil {
		return err
	}
	text, err := between(string(page), table.String())
	if err != nil {
		return fmt.Errorf("update %s: %w", path, err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return fmt.Errorf("update the page: %w", err)
	}
	return nil
}

// between puts text between the markers of a page, in place of what was there.
func between(page, text string) (string, error) {
	before, rest, ok := strings.Cut(page, beginMarker)
	if !ok {
		return "", fmt.Errorf("no line %q", strings.TrimSpace(beginMarker))
	}
	_, after, ok := strings.Cut(rest, endMarker)
	if !ok {
		return "", fmt.Errorf("no line %q after the first marker", strings.TrimSpace(endMarker))
	}
	return before + beginMarker + text + endMarker + after, nil
}
