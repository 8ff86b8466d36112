package exchange

import (
	"context"

	"google.golang.org/protobuf/proto"

	counterpb "github.com/drumline/drumline/drummerpb/counter"
)

// proof is what digests said of a sibling: up to which version of which life of it the own
// group was found to have the same, and whether it was found to differ the last time.
type proof struct {
	of      *counterpb.Origin
	upto    uint64
	differs bool
}

// compare looks now and then whether the own group has of each sibling what that has
// counted. It should, for a page that was merged is never asked for again; a defect, or a
// disk that lied, would stay for ever. Where nothing changed since the last look nothing is
// asked.
func (l *lead) compare(ctx context.Context) error {
	if l.x.o.Now().Sub(l.summed) < digestEvery {
		return nil
	}
	l.summed = l.x.o.Now()
	for _, p := range l.known() {
		if p.failing || p.anew || p.renewing || p.origin == nil || !p.proof.differs && p.proof.upto == p.version && proto.Equal(p.proof.of, p.origin) {
			continue
		}
		if err := l.compareWith(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// compareWith compares the own group with one sibling. What differs may be a delete that one
// of the two has not heard of; what differs twice is asked for anew, all of it.
func (l *lead) compareWith(ctx context.Context, p *sibling) error {
	theirs, err := l.x.ask(ctx, p.name, &counterpb.Query{Op: &counterpb.Query_Digest{Digest: &counterpb.Digest{}}})
	there := theirs.GetDigest()
	if err != nil || !proto.Equal(there.GetFrom(), p.origin) {
		return nil //nolint:nilerr // it does not answer, lives another life, or is too old to know the question
	}
	ours, err := l.x.query(ctx, l.name, &counterpb.Query{Op: &counterpb.Query_Digest{Digest: &counterpb.Digest{Of: p.origin}}})
	if err != nil {
		return err
	}
	here := ours.GetDigest()
	if here.GetUpto() < there.GetChanged() || here.GetUpto() > there.GetUpto() {
		return nil // one of the two is ahead: another time
	}
	switch {
	case here.GetSum() == there.GetSum():
		p.proof = proof{of: p.origin, upto: p.version}
	case !p.proof.differs:
		p.proof = proof{differs: true}
	default:
		l.x.count(func(t *tally) { t.diverged++ })
		l.x.o.Log.Warn("what a counter has of a sibling is not what that counted: all of it is asked for again", "group", l.name, "sibling", p.name)
		p.proof, p.anew = proof{}, true
	}
	return nil
}
