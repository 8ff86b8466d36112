package serve

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/lmittmann/tint"
	"github.com/mattn/go-isatty"

	"github.com/drumline/drumline/config"
)

// NewLogger returns the process's logger. Lines carry one event each; the keys of
// the project are group, replica, nodehost, drummer, term, index, action, err.
//
// Format auto writes text to a terminal and JSON to anything else; text is
// coloured only on a terminal and without NO_COLOR.
func NewLogger(w io.Writer, l config.Log) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.Level)); err != nil {
		return nil, fmt.Errorf("log.level: %w", err)
	}
	switch l.Format {
	case "json":
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level})), nil
	case "text":
		return textLogger(w, level), nil
	case "auto", "":
		if terminal(w) {
			return textLogger(w, level), nil
		}
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level})), nil
	}
	return nil, fmt.Errorf("log.format: unknown format %q; use auto, text or json", l.Format)
}

func textLogger(w io.Writer, level slog.Level) *slog.Logger {
	plain := !terminal(w) || os.Getenv("NO_COLOR") != ""
	return slog.New(tint.NewTextHandler(w, &tint.Options{Level: level, TimeFormat: time.TimeOnly + ".000", NoColor: plain}))
}

func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}
