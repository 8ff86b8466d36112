package sequences

// What is printed with -o json and -o yaml is a contract, as package shape says.

import (
	"strings"

	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/noun"
)

// info is one sequence of `sequence list` and `sequence describe`.
type info struct {
	Name        string `json:"name"`
	Region      string `json:"region"`
	Mode        string `json:"mode"`
	Next        *int64 `json:"next"` // null when there is none
	Closed      bool   `json:"closed"`
	Incarnation uint64 `json:"incarnation"`

	Step     int64  `json:"step"`
	Min      *int64 `json:"min,omitempty"`
	Max      *int64 `json:"max,omitempty"`
	Start    *int64 `json:"start,omitempty"`
	Cycle    bool   `json:"cycle"`
	Cache    uint64 `json:"cache"`
	Owner    string `json:"owner"`
	MaxRange uint64 `json:"max_range"`
	MaxSkip  uint64 `json:"max_skip"`
	Quota    *quota `json:"quota,omitempty"`

	Layout        *layout `json:"layout,omitempty"`
	LogicalBits   uint32  `json:"logical_bits,omitempty"`
	ScatterBits   uint32  `json:"scatter_bits,omitempty"`
	ReservationMS uint64  `json:"reservation_ms,omitempty"`

	PerSecond         float64 `json:"per_second"`
	Issued            uint64  `json:"issued"`
	Returned          uint64  `json:"returned"`
	OutstandingRanges uint64  `json:"outstanding_ranges"`
	Outstanding       uint64  `json:"outstanding"`
	Gaps              gaps    `json:"gaps"`

	Reserved  uint64 `json:"reserved,omitempty"`
	Committed uint64 `json:"committed,omitempty"`
	Vacant    uint64 `json:"vacant,omitempty"`
	Workers   uint64 `json:"workers,omitempty"`
}

// full is the name and the region.
func (i info) full() string { return statemachines.NameIn(i.Name, i.Region) }

// quota is how many numbers a period may use up.
type quota struct {
	Numbers  uint64 `json:"numbers"`
	PeriodMS uint64 `json:"period_ms"`
}

// layout is how a number of time is put together.
type layout struct {
	TimeBits    uint32 `json:"time_bits"`
	WorkerBits  uint32 `json:"worker_bits"`
	CounterBits uint32 `json:"counter_bits"`
	EpochMS     uint64 `json:"epoch_ms"` // Unix milliseconds
	LeaseMS     uint64 `json:"lease_ms"`
}

// gaps accounts for numbers that nobody used, as far as the group can know.
type gaps struct {
	Skipped uint64 `json:"skipped"` // never handed out
	Unused  uint64 `json:"unused"`  // handed out, and said to be unused
	Lost    uint64 `json:"lost"`    // in the hands of clients that went without a word
}

// recentSeconds is the length of the period that Info.Recent counts.
const recentSeconds = 10

// infoOf translates a sequence of a group.
func infoOf(of noun.Keyed, i *sequencepb.Info) info {
	name := of.Group
	if i.GetKey() != "" {
		name += "#" + i.GetKey()
	}
	d := i.GetDefinition()
	out := info{
		Name: name, Region: of.Region, Mode: modeWord(d.GetMode()), Next: i.Next, Closed: i.GetClosed(), Incarnation: i.GetIncarnation(),
		Step: d.GetStep(), Min: d.Min, Max: d.Max, Start: d.Start, Cycle: d.GetCycle(), Cache: d.GetCache(), Owner: d.GetOwner(), MaxRange: d.GetMaxRange(),
		MaxSkip: d.GetMaxSkip(), LogicalBits: d.GetLogicalBits(), ScatterBits: d.GetScatterBits(), ReservationMS: d.GetReservationMs(),
		PerSecond: float64(i.GetRecent()) / recentSeconds,
		Issued:    i.GetIssued(), Returned: i.GetReturned(), OutstandingRanges: i.GetOutstandingRanges(), Outstanding: i.GetOutstanding(),
		Gaps:     gaps{Skipped: i.GetSkipped(), Unused: i.GetUnused(), Lost: i.GetLost()},
		Reserved: i.GetReserved(), Committed: i.GetCommitted(), Vacant: i.GetVacant(), Workers: i.GetWorkers(),
	}
	if q := d.GetQuota(); q != nil {
		out.Quota = &quota{q.GetNumbers(), q.GetPeriodMs()}
	}
	if t := d.GetTime(); t != nil {
		out.Layout = &layout{t.GetTimeBits(), t.GetWorkerBits(), t.GetCounterBits(), t.GetEpochMs(), t.GetLeaseMs()}
	}
	return out
}

// modeWord is a mode as people write it.
func modeWord(m sequencepb.Mode) string {
	return strings.ToLower(strings.TrimPrefix(m.String(), "MODE_"))
}

// taken is what `sequence next` got.
type taken struct {
	Name    string  `json:"name"`
	First   int64   `json:"first"`
	Count   uint64  `json:"count"`
	Step    int64   `json:"step"`
	Numbers []int64 `json:"numbers"`
}

// outcome is what became of a sequence that was changed.
type outcome struct {
	Name   string `json:"name"`
	Result string `json:"result"`
}

// findings is what `sequence verify` found.
type findings struct {
	Files      int      `json:"files"`
	Numbers    uint64   `json:"numbers"`
	Least      int64    `json:"least"`
	Greatest   int64    `json:"greatest"`
	Missing    uint64   `json:"missing"` // between the least and the greatest
	Duplicates uint64   `json:"duplicates"`
	Disordered uint64   `json:"disordered"` // not beyond the one before in the same file
	Findings   []string `json:"findings"`
}
