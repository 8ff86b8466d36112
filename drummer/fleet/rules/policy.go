package rules

import (
	"cmp"
	"fmt"
	"time"

	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
)

// DefaultPolicy is in force until somebody sets another.
func DefaultPolicy() *fleetpb.Policy {
	return &fleetpb.Policy{
		SuspectAfterMs:    (3 * time.Second).Milliseconds(),
		DownAfterMs:       (30 * time.Second).Milliseconds(),
		OperationsPerHost: 8,
		OperationsTotal:   64,

		OperationsPerRegion: 64,
		BalanceMoves:        8,
		BrakePercent:        40,
		BrakeWindowMs:       time.Minute.Milliseconds(),
		OperationDeadlineMs: (30 * time.Minute).Milliseconds(),
	}
}

// FillPolicy returns p with defaults where it says zero. A host is never down
// before it is suspect, so a short down_after shortens the default of suspect_after.
func FillPolicy(p *fleetpb.Policy) *fleetpb.Policy {
	d := DefaultPolicy()
	if p.GetDownAfterMs() != 0 {
		d.DownAfterMs = p.GetDownAfterMs()
		d.SuspectAfterMs = min(d.GetSuspectAfterMs(), d.GetDownAfterMs())
	}
	if p.GetSuspectAfterMs() != 0 {
		d.SuspectAfterMs = p.GetSuspectAfterMs()
	}
	d.OperationsPerHost = cmp.Or(p.GetOperationsPerHost(), d.GetOperationsPerHost())
	d.OperationsTotal = cmp.Or(p.GetOperationsTotal(), d.GetOperationsTotal())
	d.OperationsPerRegion = cmp.Or(p.GetOperationsPerRegion(), d.GetOperationsPerRegion())
	d.BalanceMoves = cmp.Or(p.GetBalanceMoves(), d.GetBalanceMoves())
	d.BrakePercent = cmp.Or(p.GetBrakePercent(), d.GetBrakePercent())
	d.BrakeWindowMs = cmp.Or(p.GetBrakeWindowMs(), d.GetBrakeWindowMs())
	d.OperationDeadlineMs = cmp.Or(p.GetOperationDeadlineMs(), d.GetOperationDeadlineMs())
	d.UnreachableAfterMs = p.GetUnreachableAfterMs()
	return d
}

// UnreachableAfter is after how long a host is replaced that drummers don't hear, but its
// neighbours do. The record keeps what somebody said; a wrong value is brought into bounds
// here, so that records of any version are equal.
func UnreachableAfter(p *fleetpb.Policy) time.Duration {
	const usual, most = 5 * time.Minute, 7 * 24 * time.Hour
	ms := p.GetUnreachableAfterMs()
	if ms <= 0 {
		ms = usual.Milliseconds()
	}
	return time.Duration(min(max(ms, p.GetDownAfterMs()), most.Milliseconds())) * time.Millisecond
}

// CheckPolicy says what is wrong with a policy, after FillPolicy.
func CheckPolicy(p *fleetpb.Policy) error {
	const least, most = 50 * time.Millisecond, 7 * 24 * time.Hour
	suspect, down := p.GetSuspectAfterMs(), p.GetDownAfterMs()
	switch {
	case suspect < least.Milliseconds() || suspect > most.Milliseconds():
		return fmt.Errorf("suspect_after of %d ms: want %s to %s", suspect, least, most)
	case down < suspect || down > most.Milliseconds():
		return fmt.Errorf("down_after of %d ms: want at least suspect_after (%d ms) and at most %s", down, suspect, most)
	case p.GetOperationsPerHost() > 10_000:
		return fmt.Errorf("operations_per_host of %d: want 1 to 10,000", p.GetOperationsPerHost())
	case p.GetOperationsTotal() > 100_000:
		return fmt.Errorf("operations_total of %d: want 1 to 100,000", p.GetOperationsTotal())
	case p.GetOperationsPerRegion() > 100_000 || p.GetBalanceMoves() > 100_000:
		return fmt.Errorf("operations_per_region of %d and balance_moves of %d: want 1 to 100,000", p.GetOperationsPerRegion(), p.GetBalanceMoves())
	case p.GetBrakePercent() > 100:
		return fmt.Errorf("brake_percent of %d: want 1 to 100", p.GetBrakePercent())
	case p.GetBrakeWindowMs() < least.Milliseconds() || p.GetBrakeWindowMs() > most.Milliseconds():
		return fmt.Errorf("brake_window of %d ms: want %s to %s", p.GetBrakeWindowMs(), least, most)
	case p.GetOperationDeadlineMs() < time.Second.Milliseconds() || p.GetOperationDeadlineMs() > most.Milliseconds():
		return fmt.Errorf("operation_deadline of %d ms: want 1s to %s", p.GetOperationDeadlineMs(), most)
	}
	return nil
}
