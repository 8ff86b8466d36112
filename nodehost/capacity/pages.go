package capacity

import (
	"bytes"
	"context"
	_ "embed" // the pages
	"html/template"
	"net/http"
	"strconv"
	"time"
)

// holderRows are the clients of a page.
const holderRows = 500

//go:embed pages.html
var pagesHTML string //nolint:gochecknoglobals // embedding needs a variable

// Pages is what people see of resources in a browser.
type Pages struct {
	s     *Service
	host  string
	begun time.Time
	pages *template.Template
}

// Pages makes the pages of a host of that name.
func (s *Service) Pages(host string) (*Pages, error) {
	t, err := template.New("pages").Funcs(template.FuncMap{
		"number": func(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) },
		"clock":  func(t time.Time) string { return t.Format(time.RFC3339) },
	}).Parse(pagesHTML)
	if err != nil {
		return nil, err
	}
	return &Pages{s: s, host: host, begun: time.Now(), pages: t}, nil
}

// view is what a page shows.
type view struct {
	Host    string
	Begun   time.Time
	Address string
	Overview
	// Facts of the host besides resources.
	Facts []Fact
	// Of one resource.
	Resource   string
	Has, Wants float64
	Leases     []Lease
	More       uint64
	Missing    string
}

// Fact is a line of the status page.
type Fact struct{ Name, Value string }

// Status writes the page of /debug/status.
func (p *Pages) Status(w http.ResponseWriter, r *http.Request, facts []Fact) {
	v := p.view(r)
	v.Facts = facts
	p.write(w, "status", v)
}

// ServeHTTP writes the page of /debug/resources?resource=ID. A resource that does not
// exist has an empty table.
func (p *Pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v := p.view(r)
	if v.Resource = r.FormValue("resource"); v.Resource != "" {
		cursor, _ := strconv.ParseUint(r.FormValue("from"), 10, 64) // what is no number is the first page
		ctx, cancel := context.WithTimeout(r.Context(), overviewTimeout)
		defer cancel()
		sum, leases, more, err := p.s.lookUp(ctx, v.Resource, cursor)
		if err != nil {
			v.Missing = err.Error()
		}
		v.Has, v.Wants, v.Leases, v.More = sum.GetGranted(), sum.GetWants(), leases, more
	}
	p.write(w, "resource", v)
}

func (p *Pages) view(r *http.Request) view {
	return view{Host: p.host, Begun: p.begun, Address: p.s.o.Advertise, Overview: p.s.Overview(r.Context(), r.FormValue("after"))}
}

func (p *Pages) write(w http.ResponseWriter, name string, v view) {
	var page bytes.Buffer
	if err := p.pages.ExecuteTemplate(&page, name, v); err != nil {
		http.Error(w, "the page cannot be made: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	_, _ = w.Write(page.Bytes()) // the browser may have left
}
