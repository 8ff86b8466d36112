package replicas

import (
	"time"
)

// Pauses between two lines of the log about a boot: the first soon, so that a long one
// is known as such, the next each twice as late as the one before, up to a bound.
const (
	firstProgress = 2 * time.Second
	mostProgress  = 30 * time.Second
)

// progressLog decides when the log hears of a boot.
type progressLog struct{ next, pause time.Duration }

// due tells whether to say something now.
func (l *progressLog) due(now time.Duration) bool {
	if l.next == 0 {
		l.pause, l.next = firstProgress, now+firstProgress
	}
	if now < l.next {
		return false
	}
	l.pause = min(2*l.pause, mostProgress)
	l.next = now + l.pause
	return true
}

// tellProgress shows how far the boot is to whoever asks, and to the log now and then.
func (k *Keeper) tellProgress(now time.Duration) {
	was, is := *k.progress.Load(), k.core.Progress()
	if !is.Begun || was == is {
		return
	}
	k.progress.Store(&is)
	if !was.Begun {
		k.bootBegun = now
	}
	took := (now - k.bootBegun).Round(time.Millisecond)
	switch {
	case is.Done:
		k.o.Log.Info("boot done", "replicas", is.Total, "took", took)
	case k.bootLog.due(now):
		k.o.Log.Info("starting replicas", "done", is.Through, "total", is.Total, "took", took)
	}
}
