package capacity

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/statemachines/capacity"
)

// Bounds of an overview: it is for people, and asks every resource that it shows.
const (
	// pageRows are the resources of a page.
	pageRows = 100
	// overviewTimeout bounds the making of a page; what did not answer is shown without
	// numbers.
	overviewTimeout = 2 * time.Second
	rowsAtOnce      = 16
)

// Cluster is what a host knows of the cluster's groups and configuration, mostly by
// asking a drummer.
type Cluster interface {
	// Groups lists a page of the groups whose names begin with prefix, after a name.
	Groups(ctx context.Context, prefix, after string, limit uint32) ([]*drummerpb.GroupInfo, bool, error)
	// Configuration is an app's configuration in force: its revision and its text.
	Configuration(ctx context.Context, app string) (revision uint64, source string, err error)
}

// Overview is a page of the cluster's resources.
type Overview struct {
	// Resources of the page, by name.
	Resources []Row `json:"resources"`
	// Next is the after of the next page; empty on the last.
	Next string `json:"next,omitempty"`
	// Revision and Configuration in force.
	Revision      uint64 `json:"revision,omitempty"`
	Configuration string `json:"configuration,omitempty"`
	// Problem says why something is missing.
	Problem string `json:"problem,omitempty"`
}

// Row is one resource.
type Row struct {
	Resource string `json:"resource"`
	// Leader is the name of the host that leads it, State its group's.
	Leader   string  `json:"leader"`
	State    string  `json:"state"`
	Capacity float64 `json:"capacity"`
	// Has is the sum of the newest leases, Reserved of what may still be used.
	Has       float64 `json:"has"`
	Reserved  float64 `json:"reserved"`
	Wants     float64 `json:"wants"`
	Clients   int64   `json:"clients"`
	Learning  bool    `json:"learning"`
	Algorithm string  `json:"algorithm"`
	Parent    string  `json:"parent,omitempty"`
	Revision  uint64  `json:"revision"`
	// Problem says why there are no numbers.
	Problem string `json:"problem,omitempty"`
}

// Overview lists resources, those behind a name, with their numbers.
func (s *Service) Overview(ctx context.Context, after string) Overview {
	ctx, cancel := context.WithTimeout(ctx, overviewTimeout)
	defer cancel()
	out := Overview{Resources: []Row{}}
	if after != "" {
		after = groupOf(after)
	}
	groups, more, err := s.o.Cluster.Groups(ctx, groupOf(""), after, pageRows)
	if err != nil {
		out.Problem = fmt.Sprintf("the list of resources is not there: %v", err)
	}
	var work errgroup.Group
	work.SetLimit(rowsAtOnce)
	rows := make([]Row, len(groups))
	for i, g := range groups {
		work.Go(func() error {
			rows[i] = s.row(ctx, g)
			return nil
		})
	}
	_ = work.Wait() // there are no errors
	out.Resources = append(out.Resources, rows...)
	if more && len(rows) > 0 {
		out.Next = rows[len(rows)-1].Resource
	}
	if out.Revision, out.Configuration, err = s.o.Cluster.Configuration(ctx, capacity.Name); err != nil && out.Problem == "" {
		out.Problem = fmt.Sprintf("the configuration is not there: %v", err)
	}
	return out
}

// row asks one resource for its numbers.
func (s *Service) row(ctx context.Context, g *drummerpb.GroupInfo) Row {
	r := Row{Resource: strings.TrimPrefix(statemachines.NameOf(g), groupOf("")), State: g.GetState()}
	for _, m := range g.GetReplicas() {
		if m.GetLeader() {
			r.Leader = m.GetHost()
		}
	}
	a, err := s.o.describe(ctx, statemachines.NameOf(g))
	if err != nil {
		r.Problem = err.Error()
		return r
	}
	sum := a.GetSummary()
	r.Capacity, r.Has, r.Reserved, r.Wants = sum.GetCapacity(), sum.GetGranted(), sum.GetReserved(), sum.GetWants()
	r.Clients, r.Revision, r.Learning = sum.GetClients(), sum.GetRevision(), a.GetTime() < sum.GetLearningUntil()
	r.Algorithm, r.Parent = algorithmText(sum.GetDefinition()), sum.GetDefinition().GetParent()
	return r
}

// algorithmText says how a resource is divided, as the original's pages do.
func algorithmText(def *capacitypb.Definition) string {
	if def == nil {
		return ""
	}
	kind := strings.TrimPrefix(def.GetAlgorithm().String(), "ALGORITHM_")
	if def.GetAlgorithm() == capacitypb.Algorithm_ALGORITHM_NONE {
		kind = "NO_ALGORITHM"
	}
	return fmt.Sprintf("kind:%s lease_length:%v refresh_interval:%v", kind, seconds(def.GetLeaseLengthMs()), seconds(def.GetRefreshIntervalMs()))
}

func seconds(ms int64) float64 { return float64(ms) / 1000 }

// Lease is one holder of a resource.
type Lease struct {
	Client string `json:"client"`
	// Ends is when the newest lease ends, at the latest and as this host's clock has it.
	Ends time.Time `json:"ends"`
	// Refresh is after how many seconds the client asks again.
	Refresh  float64 `json:"refresh"`
	Has      float64 `json:"has"`
	Reserved float64 `json:"reserved"`
	Wants    float64 `json:"wants"`
}

// lookUp lists a page of those who hold leases of a resource, with its sums.
func (s *Service) lookUp(ctx context.Context, resource string, after uint64) (sum *capacitypb.Summary, page []Lease, next uint64, err error) {
	if err := checkFull(resource); err != nil {
		return nil, nil, 0, err
	}
	if err := s.living(ctx, resource); err != nil { // looking makes nothing
		return nil, nil, 0, err
	}
	group := groupOf(resource)
	about, err := s.o.describe(ctx, group)
	if err != nil {
		return nil, nil, 0, err
	}
	q := &capacitypb.Query{Op: &capacitypb.Query_List{List: &capacitypb.List{After: after, Limit: holderRows}}}
	list, err := s.o.read(ctx, group, packQuery(q))
	if err != nil {
		return nil, nil, 0, err
	}
	now, refresh := time.Now(), seconds(about.GetSummary().GetDefinition().GetRefreshIntervalMs())
	for _, h := range list.GetHolders() {
		l := Lease{Client: h.GetClientId(), Ends: now.Add(time.Duration(h.GetExpires() - list.GetTime())), Refresh: refresh, Has: h.GetGranted(), Reserved: h.GetReserved()}
		for _, b := range h.GetBands() {
			l.Wants += b.GetWants()
		}
		page = append(page, l)
	}
	slices.SortFunc(page, func(a, b Lease) int { return strings.Compare(a.Client, b.Client) })
	return about.GetSummary(), page, list.GetNext(), nil
}
