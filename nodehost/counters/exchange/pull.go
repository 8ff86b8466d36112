package exchange

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	counterpb "github.com/drumline/drumline/drummerpb/counter"
)

// answer is a page of what a sibling changed; without a page there was no answer. behind is
// how many changes are not told with it.
type answer struct {
	region string
	page   *counterpb.Merge
	more   bool
	behind uint64
	// anew: all is asked for, not what is new.
	anew bool
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
		anew := p.anew
		if anew {
			p.version, p.wall, p.anew, p.renewing = 0, 0, false, true
		}
		name, region, has := p.name, p.region, p.cursor
		l.pulls.Go(func() {
			a := l.x.pull(ctx, name, has)
			a.region, a.anew = region, anew
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
	a, err := x.ask(ctx, name, &counterpb.Query{Op: &counterpb.Query_Export{Export: q}})
	if err == nil && has.version > 0 && !proto.Equal(a.GetExport().GetFrom(), has.origin) {
		// It lives another life, in which versions begin anew.
		q.After, q.WallMs = 0, 0
		a, err = x.ask(ctx, name, &counterpb.Query{Op: &counterpb.Query_Export{Export: q}})
	}
	if err != nil {
		x.o.Log.Debug("a sibling of a counter does not answer", "sibling", name, "err", err)
		return answer{}
	}
	behind := a.GetNewest() - min(a.GetExport().GetUpto(), a.GetNewest())
	return answer{page: a.GetExport(), more: a.GetMore(), behind: behind}
}

// take merges a page, and the pages after it.
func (l *lead) take(ctx context.Context, a answer) error {
	p, anew := l.peers[a.region], a.anew && l.modern()
	p.asking, p.failing = false, a.page == nil
	defer func() { p.renewing = false }()
	for a.page != nil {
		if a.page.GetFrom().GetRegion() == "" || l.self == nil {
			return nil // its leader, or this one, has to find out first who it is
		}
		a.page.Anew = anew
		err := l.merge(ctx, p, a.page)
		if err == nil {
			l.x.hear(l.name, p.region, a.behind)
		}
		if err != nil || !a.more {
			return err
		}
		a = l.x.pull(ctx, p.name, p.cursor)
	}
	return nil
}

// merge proposes a page if it says anything new.
func (l *lead) merge(ctx context.Context, p *sibling, g *counterpb.Merge) error {
	if !l.isNews(p, g) {
		p.version = max(p.version, g.GetUpto())
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
	p.version, p.wall, p.over = max(p.version, g.GetUpto()), max(p.wall, g.GetWallMs()), text(g.GetRetired())
	if len(g.GetEntries()) > 0 {
		l.owe()
	}
	return nil
}

// isNews tells whether a page says what the own group does not know: an idle exchange
// proposes nothing. That a sibling merged something itself is no news.
func (l *lead) isNews(p *sibling, g *counterpb.Merge) bool {
	return len(g.GetEntries()) > 0 || g.GetWallMs() > p.wall || text(g.GetRetired()) != p.over || !proto.Equal(g.GetFrom(), p.origin)
}

// told is what a sibling has told of others: up to which version of it, with which origins
// left out, and which it called over.
type told struct {
	of      *counterpb.Origin
	skipped string
	upto    uint64
	retired string
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

// relayFrom asks a sibling for what it heard since it was asked last, if it was asked the
// same then. What it told once is not proposed again: an idle fleet is quiet, also one that
// has lost a region.
func (l *lead) relayFrom(ctx context.Context, p *sibling, skip []*counterpb.Origin) error {
	skipped := text(skip)
	if !proto.Equal(p.told.of, p.origin) || p.told.skipped != skipped {
		p.told = told{of: p.origin, skipped: skipped}
	}
	q := &counterpb.Export{Relayed: true, Skip: skip, Limit: pageLimit, After: p.told.upto}
	first := uint64(0)
	for {
		a, err := l.x.ask(ctx, p.name, &counterpb.Query{Op: &counterpb.Query_Export{Export: q}})
		g := a.GetExport()
		if err != nil || !proto.Equal(g.GetFrom(), p.origin) {
			return nil //nolint:nilerr // it is asked again later
		}
		if first == 0 {
			first = g.GetUpto() // what changes while pages are turned is for the next time
		}
		over := text(g.GetRetired())
		if len(g.GetEntries()) > 0 || over != p.told.retired {
			if err := l.propose(ctx, &counterpb.Command{Op: &counterpb.Command_Merge{Merge: g}}); err != nil {
				return err
			}
		}
		p.told.retired = over
		if !a.GetMore() {
			p.told.upto = first
			return nil
		}
		q.AfterKey = proto.String(a.GetAfterKey())
	}
}

// text is origins in one string, which tells whether they are the same.
func text(origins []*counterpb.Origin) string {
	var out []byte
	for _, o := range origins {
		out = fmt.Appendf(out, "%s %x\n", o.GetRegion(), o.GetIncarnation())
	}
	return string(out)
}
