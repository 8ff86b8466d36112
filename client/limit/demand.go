package limit

import "time"

// demand observes how often calls are asked for. Time is given to it.
type demand struct {
	arrivals []float64       // by second, the one that runs first
	blocked  []time.Duration // how long somebody waited, by the same seconds
	waiting  int             // callers that wait now
	since    time.Time       // when the second that runs began
	noted    time.Time       // until when waiting is in blocked
}

// crowded is the share of the time in which somebody waits from which on the limit, and
// not the callers, decides how many calls there are.
const crowded = 0.8

func newDemand(seconds int, now time.Time) *demand {
	return &demand{arrivals: make([]float64, seconds+1), blocked: make([]time.Duration, seconds+1), since: now, noted: now}
}

// roll moves on to now.
func (d *demand) roll(now time.Time) {
	for end := d.since.Add(time.Second); !now.Before(end); end = d.since.Add(time.Second) {
		d.note(end)
		copy(d.arrivals[1:], d.arrivals)
		copy(d.blocked[1:], d.blocked)
		d.arrivals[0], d.blocked[0], d.since = 0, 0, end
	}
	d.note(now)
}

// note books the waiting until now.
func (d *demand) note(now time.Time) {
	if d.waiting > 0 {
		d.blocked[0] += now.Sub(d.noted)
	}
	d.noted = now
}

// arrive counts a call that is asked for, by a caller that waits from now on.
func (d *demand) arrive(now time.Time) {
	d.roll(now)
	d.arrivals[0]++
	d.waiting++
}

// leave counts a caller out that waited.
func (d *demand) leave(now time.Time) {
	d.roll(now)
	d.waiting--
}

// rate is how many calls a second are asked for: the mean over the whole seconds of the
// window, the last one counting most and each earlier one a step less. Those that wait
// are calls that a second more could have had.
func (d *demand) rate() float64 {
	n := len(d.arrivals) - 1
	var sum float64
	for i, f := range d.arrivals[1:] {
		sum += f * float64(n-i)
	}
	return sum/(float64(n*(n+1))/2) + float64(d.waiting)
}

// crowd tells whether callers waited nearly all the time of the last whole second: how
// many calls they would make without a limit cannot be seen then.
func (d *demand) crowd() bool { return d.blocked[1].Seconds() >= crowded }
