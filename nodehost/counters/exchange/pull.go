package exchange

import (
	"context"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	counterpb "github.com/drumline/drumline/drummerpb/counter"
)

// answer is a page of what a sibling changed; without a page there was no answer.
type answer struct {
	region string
	page   *counterpb.Merge
	more   bool
}

// known are the siblings that have a name, by region.
func (l *lead) known() []*sibling {
	var out []*sibling
	for _, p := range l.peers {
		if p.name != "" {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b *sibling) int { return strings.Compare(a.region, b.region) })
	return out
}

// ask asks all siblings, each by itself: one that does not answer keeps nobody waiting.
func (l *lead) ask(ctx context.Context) {
	for _, p := range l.known() {
		if p.asking {
			continue
		}
		p.asking = true
		name, region, has := p.name, p.region, p.cursor
		l.pulls.Go(func() {
			a := l.x.pull(ctx, name, has)
			a.region = region
			select {
			case l.answers <- a:
			case <-ctx.Done():
			}
		})
	}
}

// pull asks one sibling for a page.
func (x *Exchange) pull(ctx context.Context, name string, has cursor) answer {
	q := &counterpb.Export{After: has.version, WallMs: has.wall, Limit: pageLimit}
	a, err := x.query(ctx, name, &counterpb.Query{Op: &counterpb.Query_Export{Export: q}})
	if err == nil && has.version > 0 && !proto.Equal(a.GetExport().GetFrom(), has.origin) {
		// It lives another life, in which versions begin anew.
		q.After, q.WallMs = 0, 0
		a, err = x.query(ctx, name, &counterpb.Query{Op: &counterpb.Query_Export{Export: q}})
	}
	if err != nil {
		x.o.Log.Debug("a sibling of a counter does not answer", "sibling", name, "err", err)
		return answer{}
	}
	return answer{page: a.GetExport(), more: a.GetMore()}
}

// take merges a page, and the pages after it.
func (l *lead) take(ctx context.Context, a answer) error {
	p := l.peers[a.region]
	p.asking, p.failing = false, a.page == nil
	for a.page != nil {
		l.x.hear(l.name, p.region, l.x.o.Now())
		if a.page.GetFrom().GetRegion() == "" || l.self == nil {
			return nil // its leader, or this one, has to find out first who it is
		}
		if err := l.merge(ctx, p, a.page); err != nil || !a.more {
			return err
		}
		a = l.x.pull(ctx, p.name, p.cursor)
	}
	return nil
}

// merge proposes a page if it says anything new.
func (l *lead) merge(ctx context.Context, p *sibling, g *counterpb.Merge) error {
	if !l.isNews(p, g) {
		return nil
	}
	if err := l.propose(ctx, &counterpb.Command{Op: &counterpb.Command_Merge{Merge: g}}); err != nil {
		return err
	}
	l.x.count(func(t *tally) { t.entries += uint64(len(g.GetEntries())) })
	if !proto.Equal(g.GetFrom(), p.origin) {
		p.cursor = cursor{origin: g.GetFrom()}
		l.relayed = time.Time{} // what it was before has to be asked of others now
	}
	p.version, p.wall = max(p.version, g.GetUpto()), max(p.wall, g.GetWallMs())
	if len(g.GetEntries()) > 0 {
		l.tickAt = l.x.o.Now().Add(settling)
	}
	return nil
}

// isNews tells whether a page says what the own group does not know: an idle exchange
// proposes nothing.
func (l *lead) isNews(p *sibling, g *counterpb.Merge) bool {
	return len(g.GetEntries()) > 0 || g.GetUpto() > p.version || g.GetWallMs() > p.wall || !proto.Equal(g.GetFrom(), p.origin)
}

// relay asks each sibling for what those counted that do not answer themselves.
func (l *lead) relay(ctx context.Context) error {
	if l.x.o.Now().Sub(l.relayed) < relayEvery {
		return nil
	}
	l.relayed = l.x.o.Now()
	skip := []*counterpb.Origin{l.self}
	for _, p := range l.known() {
		if !p.failing && p.origin != nil {
			skip = append(skip, p.origin)
		}
	}
	for _, p := range l.known() {
		if p.failing || p.origin == nil {
			continue
		}
		if err := l.relayFrom(ctx, p, skip); err != nil {
			return err
		}
	}
	return nil
}

func (l *lead) relayFrom(ctx context.Context, p *sibling, skip []*counterpb.Origin) error {
	q := &counterpb.Export{Relayed: true, Skip: skip, Limit: pageLimit}
	for {
		a, err := l.x.query(ctx, p.name, &counterpb.Query{Op: &counterpb.Query_Export{Export: q}})
		if err != nil || a.GetExport().GetFrom().GetRegion() == "" {
			return nil //nolint:nilerr // it is asked again later
		}
		if g := a.GetExport(); len(g.GetEntries()) > 0 || len(g.GetRetired()) > 0 {
			if err := l.propose(ctx, &counterpb.Command{Op: &counterpb.Command_Merge{Merge: g}}); err != nil {
				return err
			}
		}
		if !a.GetMore() {
			return nil
		}
		q.AfterKey = proto.String(a.GetAfterKey())
	}
}
