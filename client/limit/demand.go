package limit

import "time"

// demand observes how often calls are asked for. Time is given to it.
type demand struct {
	seconds []second  // the one that runs first
	seen    int       // whole seconds that were observed: of the others nothing is known
	waiting int       // callers that wait now
	since   time.Time // when the second that runs began
	noted   time.Time // until when waiting is booked
}

// second is what was seen in one second.
type second struct {
	arrivals float64
	blocked  time.Duration // how long somebody waited
}

// crowded is the share of the time in which somebody waits from which on the limit, and
// not the callers, decides how many calls there are.
const crowded = 0.8

// strained is the share from which on the capacity is so near to what is needed that chance
// lets callers wait. What is asked for is then more than what is seen, within these bounds.
const (
	strained     = 0.1
	headroom     = 1.2
	mostHeadroom = 2
)

// limited tells whether callers waited nearly all the time: how many calls they would have
// made without a limit cannot be seen then.
func (s second) limited() bool { return s.blocked.Seconds() >= crowded }

// newDemand keeps so many whole seconds.
func newDemand(seconds int, now time.Time) *demand {
	return &demand{seconds: make([]second, seconds+1), since: now, noted: now}
}

// roll moves on to now.
func (d *demand) roll(now time.Time) {
	for end := d.since.Add(time.Second); !now.Before(end); end = d.since.Add(time.Second) {
		d.note(end)
		copy(d.seconds[1:], d.seconds)
		d.seconds[0], d.since = second{}, end
		d.seen = min(d.seen+1, len(d.seconds)-1)
	}
	d.note(now)
}

// note books the waiting until now.
func (d *demand) note(now time.Time) {
	if d.waiting > 0 {
		d.seconds[0].blocked += now.Sub(d.noted)
	}
	d.noted = now
}

// arrive counts a call that is asked for, by a caller that waits from now on.
func (d *demand) arrive(now time.Time) {
	d.roll(now)
	d.seconds[0].arrivals++
	d.waiting++
}

// leave counts a caller out that waited.
func (d *demand) leave(now time.Time) {
	d.roll(now)
	d.waiting--
}

// run is the whole seconds, the newest first, that were of one kind: limited or not. What was
// before is of another time.
func (d *demand) run() []second {
	whole := d.seconds[1 : d.seen+1]
	for i, s := range whole {
		if s.limited() != whole[0].limited() {
			return whole[:i]
		}
	}
	return whole
}

// rate is how many calls a second are asked for: the mean over a run, the last second
// counting most and each earlier one a step less. Those that wait are calls that a second
// more could have had. Seconds in which the limit decided say too little, and those before
// them nothing of now, so a run has one kind only.
func (d *demand) rate() float64 {
	var sum, weights float64
	for i, s := range d.run() {
		weight := float64(len(d.seconds) - 1 - i)
		sum += s.arrivals * weight
		weights += weight
	}
	return sum/max(weights, 1) + float64(d.waiting)
}

// crowd tells whether the last whole second was limited.
func (d *demand) crowd() bool { return d.seconds[1].limited() }

// strain is how many times the calls that were seen there might be if nobody had waited: a
// caller that waits for a part of its time would make more calls by that.
func (d *demand) strain() float64 {
	waited := d.seconds[1].blocked.Seconds()
	if waited < strained {
		return 1
	}
	return min(max(headroom, 1/(1-waited)), mostHeadroom)
}
