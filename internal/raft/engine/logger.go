package engine

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/lni/dragonboat/v3/logger"

	"github.com/drumline/drumline/internal/must"
)

// dragonboatLog is where dragonboat's loggers write. They are the process's, so
// the first host's logger serves all of them.
var dragonboatLog struct {
	once sync.Once
	to   atomic.Pointer[slog.Logger]
}

// UseLogger makes dragonboat log through log; of several, the first of the process.
func UseLogger(log *slog.Logger) {
	dragonboatLog.once.Do(func() {
		dragonboatLog.to.Store(log)
		logger.SetLoggerFactory(func(pkg string) logger.ILogger {
			return &packageLogger{log: dragonboatLog.to.Load().With(slog.String("dragonboat", pkg))}
		})
	})
}

// packageLogger is the logger of one of dragonboat's packages. Its levels are one
// too high for a host of many groups: what it calls info are ten lines per replica
// start, what it calls warnings are elections and retries.
type packageLogger struct {
	log *slog.Logger
}

var _ logger.ILogger = (*packageLogger)(nil)

// SetLevel does nothing: slog's own level decides.
func (*packageLogger) SetLevel(logger.LogLevel) {}

// Debugf drops: it is dragonboat's tracing of every message.
func (*packageLogger) Debugf(string, ...any) {}

// Infof logs for debugging.
func (l *packageLogger) Infof(format string, args ...any) { l.print(slog.LevelDebug, format, args) }

// Warningf logs for debugging.
func (l *packageLogger) Warningf(format string, args ...any) {
	l.print(slog.LevelDebug, format, args)
}

// Errorf logs a warning: what is fatal comes through Panicf.
func (l *packageLogger) Errorf(format string, args ...any) { l.print(slog.LevelWarn, format, args) }

// Panicf logs and panics: dragonboat relies on it not to go on with corrupt state.
func (l *packageLogger) Panicf(format string, args ...any) {
	l.print(slog.LevelError, format, args)
	must.Hold(false, "dragonboat: "+format, args...)
}

func (l *packageLogger) print(level slog.Level, format string, args []any) {
	if l.log.Enabled(context.Background(), level) {
		//nolint:sloglint // dragonboat's messages are formatted text
		l.log.Log(context.Background(), level, fmt.Sprintf(format, args...))
	}
}
