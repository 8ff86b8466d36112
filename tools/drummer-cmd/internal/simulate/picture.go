package simulate

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// Size of a picture and of the margins around its plot, in pixels.
const (
	width, height = 900, 420
	left, right   = 70, 20
	top, bottom   = 50, 60
	plotWidth     = width - left - right
	plotHeight    = height - top - bottom
)

// Picture draws the rows over time as an SVG.
func (r *Result) Picture() []byte {
	p := &picture{r: r}
	p.scale()
	p.printf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`,
		width, height, width, height)
	p.printf(`<rect width="%d" height="%d" fill="#fff"/>`, width, height)
	p.printf(`<text x="%d" y="24" font-size="16">%s</text>`, left, html.EscapeString(r.Title))
	p.leaderless()
	p.axes()
	p.line("#999999", "", func(row Row) float64 { return row.Wants })
	p.line("#1f77b4", "", func(row Row) float64 { return row.Leased })
	p.line("#ff7f0e", "", func(row Row) float64 { return row.Safe })
	p.line("#d62728", `stroke-dasharray="6 4"`, func(row Row) float64 { return row.Capacity })
	p.legend()
	p.printf(`</svg>`)
	return []byte(p.out.String())
}

// picture is one that is being drawn.
type picture struct {
	r         *Result
	out       strings.Builder
	end, most float64 // what the axes reach to
}

func (p *picture) printf(format string, args ...any) { fmt.Fprintf(&p.out, format+"\n", args...) }

func (p *picture) scale() {
	p.end, p.most = 1, 1
	for _, row := range p.r.Rows {
		p.end = max(p.end, row.Time)
		p.most = max(p.most, row.Capacity*1.2, row.Leased*1.05)
	}
	// Wants may be far above what there is: they leave the picture at twice of it.
	limit := 2 * p.most
	for _, row := range p.r.Rows {
		p.most = max(p.most, min(limit, row.Wants*1.05))
	}
}

func (p *picture) x(t float64) float64 { return left + plotWidth*t/p.end }

func (p *picture) y(v float64) float64 { return top + plotHeight*(1-min(v, p.most)/p.most) }

// leaderless shades the times when a server has no leader.
func (p *picture) leaderless() {
	for i, row := range p.r.Rows {
		if row.Leaderless == 0 {
			continue
		}
		until := row.Time
		if i+1 < len(p.r.Rows) {
			until = p.r.Rows[i+1].Time
		}
		p.printf(`<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="#eeeeee"/>`, p.x(row.Time), top, p.x(until)-p.x(row.Time), plotHeight)
	}
}

func (p *picture) axes() {
	p.printf(`<path d="M%d %d V%d H%d" fill="none" stroke="#000"/>`, left, top, top+plotHeight, left+plotWidth)
	for _, v := range ticks(p.most) {
		p.printf(`<path d="M%d %.1f h-5" stroke="#000"/><text x="%d" y="%.1f" text-anchor="end">%g</text>`, left, p.y(v), left-8, p.y(v)+4, v)
	}
	for _, t := range ticks(p.end) {
		p.printf(`<path d="M%.1f %d v5" stroke="#000"/><text x="%.1f" y="%d" text-anchor="middle">%g s</text>`,
			p.x(t), top+plotHeight, p.x(t), top+plotHeight+20, t)
	}
}

// ticks are round numbers up to a limit, about six of them.
func ticks(limit float64) []float64 {
	step := math.Pow(10, math.Floor(math.Log10(limit/3)))
	for limit/step > 8 {
		step *= 2
	}
	var out []float64
	for i := 0; float64(i)*step <= limit; i++ {
		out = append(out, float64(i)*step)
	}
	return out
}

func (p *picture) line(color, style string, of func(Row) float64) {
	var points strings.Builder
	for _, row := range p.r.Rows {
		fmt.Fprintf(&points, "%.1f,%.1f ", p.x(row.Time), p.y(of(row)))
	}
	p.printf(`<polyline points="%s" fill="none" stroke="%s" stroke-width="1.5" %s/>`, strings.TrimSpace(points.String()), color, style)
}

func (p *picture) legend() {
	at := left
	for _, entry := range []struct{ color, text string }{
		{"#d62728", "capacity"},
		{"#1f77b4", "leased"},
		{"#ff7f0e", "used without a lease"},
		{"#999999", "wants"},
		{"#cccccc", "a server without a leader"},
	} {
		p.printf(`<rect x="%d" y="%d" width="12" height="12" fill="%s"/><text x="%d" y="%d">%s</text>`,
			at, height-24, entry.color, at+17, height-13, entry.text)
		at += 40 + 7*len(entry.text)
	}
}
