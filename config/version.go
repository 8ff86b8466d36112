package config

import "runtime/debug"

// version is set by the linker: -ldflags "-X github.com/drumline/drumline/config.version=v1.2.3".
var version string //nolint:gochecknoglobals // the linker can set nothing else

// Version is the version of this program.
func Version() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
