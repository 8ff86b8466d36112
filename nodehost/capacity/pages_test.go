package capacity

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
)

// page gets a page as a browser does.
func page(t *testing.T, h http.Handler, path string) string {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	require.Equal(t, http.StatusOK, w.Code)
	require.Contains(t, w.Header().Get("Content-Type"), "text/html")
	return w.Body.String()
}

// pageWith asks for a page until it has what is wanted: a group that has no leader just
// then, or takes too long to answer, is shown without.
func pageWith(t *testing.T, h http.Handler, path, want string) string {
	t.Helper()
	text := page(t, h, path)
	for end := time.Now().Add(time.Minute); !strings.Contains(text, want) && time.Now().Before(end); {
		text = page(t, h, path)
	}
	require.Contains(t, text, want)
	return text
}

// What people and Prometheus see of two resources, one of them with a name that would
// play tricks in a page.
func TestPagesAndGauges(t *testing.T) {
	f := newFleet(t, 1)
	h := f.hosts[0]
	f.config = "resources: # <i>applied</i>"
	nasty := `<script>alert("x")</script>/&é`
	f.launch(1000, "fair", defined(capacitypb.Algorithm_ALGORITHM_FAIR_SHARE, 100), 0)
	f.launch(1001, nasty, defined(capacitypb.Algorithm_ALGORITHM_NONE, 5), 0)
	require.Equal(t, []float64{60}, h.get("a", wanted("fair", 60)))
	require.Equal(t, []float64{40}, h.get("b", wanted("fair", 90)))
	require.Equal(t, []float64{7}, h.get("<b>client</b>", wanted(nasty, 7)))
	pages, err := h.leases.Pages("host-<1>")
	require.NoError(t, err)
	status := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		pages.Status(w, r, []Fact{{Name: "Drummer", Value: "<none>"}})
	})

	text := pageWith(t, status, "/debug/status", `<td class="n">150</td>`)
	for _, want := range []string{
		"Status for host-&lt;1&gt;", `<a href="/debug/resources?resource=fair">fair</a>`, "kind:FAIR_SHARE lease_length:15 refresh_interval:5",
		`<td class="n">100</td><td class="n">100</td><td class="n">150</td>`, "&lt;none&gt;", "Revision 7", "&lt;i&gt;applied&lt;/i&gt;", h.addr,
		"kind:NO_ALGORITHM",
	} {
		require.Contains(t, text, want)
	}
	require.NotContains(t, text, "<script>")

	text = pageWith(t, pages, "/debug/resources?resource=fair", "Sum of has: 100<br>Sum of wants: 150")
	require.Regexp(t, `<tr><td>b</td><td>20[^<]+</td><td class="n">5</td><td class="n">40</td><td class="n">90</td><td class="n">40</td></tr>`, text)
	text = pageWith(t, pages, "/debug/resources?resource="+url.QueryEscape(nasty), "&lt;b&gt;client&lt;/b&gt;")
	require.NotContains(t, text, "<script>")
	text = page(t, pages, "/debug/resources?resource=%3Cnone%3E")
	require.Contains(t, text, "there is no resource")
	require.Contains(t, text, ">fair<", "the other resources are below")
	require.NotContains(t, text, "<none>")
	require.Contains(t, page(t, pages, "/debug/resources"), ">fair<")

	over := h.leases.Overview(t.Context(), "")
	require.Len(t, over.Resources, 2)
	require.Equal(t, []string{nasty, "fair"}, []string{over.Resources[0].Resource, over.Resources[1].Resource})
	require.Empty(t, over.Next)
	require.Len(t, h.leases.Overview(t.Context(), nasty).Resources, 1)

	want := `
# HELP doorman_server_has Capacity leased of a resource that this host leads.
# TYPE doorman_server_has gauge
doorman_server_has{resource="<script>alert(\"x\")</script>/&é"} 7
doorman_server_has{resource="fair"} 100
# HELP doorman_server_wants Capacity that the clients of a resource want.
# TYPE doorman_server_wants gauge
doorman_server_wants{resource="<script>alert(\"x\")</script>/&é"} 7
doorman_server_wants{resource="fair"} 150
# HELP doorman_server_subclients Clients of a resource, those of servers counted in.
# TYPE doorman_server_subclients gauge
doorman_server_subclients{resource="<script>alert(\"x\")</script>/&é"} 1
doorman_server_subclients{resource="fair"} 2
# HELP doorman_server_resources_unlisted Resources that this host leads beyond those that have gauges.
# TYPE doorman_server_resources_unlisted gauge
doorman_server_resources_unlisted 0
`
	metrics := []string{"doorman_server_has", "doorman_server_wants", "doorman_server_subclients", "doorman_server_resources_unlisted"}
	err = testutil.CollectAndCompare(h.leases, strings.NewReader(want), metrics...)
	for end := time.Now().Add(time.Minute); err != nil && time.Now().Before(end); { // a group that has no leader just then has no gauges
		err = testutil.CollectAndCompare(h.leases, strings.NewReader(want), metrics...)
	}
	require.NoError(t, err)
}
