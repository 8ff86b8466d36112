package counters_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/internal/fault"
)

// ask makes a request and returns code, type and body.
func ask(t *testing.T, method, url string, header ...string) (code int, kind, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(within(t), method, url, nil)
	require.NoError(t, err)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	http.DefaultClient.CloseIdleConnections()
	return resp.StatusCode, resp.Header.Get("Content-Type"), string(data)
}

// TestTheTalksPaths: text and newline as in the talk, and status codes that tell the truth.
func TestTheTalksPaths(t *testing.T) {
	c := newCluster("counter/default")
	s := c.web(t)
	for _, step := range []struct {
		method, path string
		code         int
		body         string
	}{
		{"GET", "/", 200, "0\n"},
		{"GET", "/inc?amount=1", 200, "1\n"},
		{"POST", "/inc?amount=2", 200, "3\n"},
		{"GET", "/", 200, "3\n"},
		{"GET", "/inc?amount=0", 200, "3\n"},
		{"GET", "/inc?amount=-1", 200, "2\n"},
		{"GET", "/inc", 400, ""},
		{"GET", "/inc?amount=abc", 400, ""},
		{"GET", "/inc?amount=1.5", 400, ""},
		{"GET", "/inc?amount=9223372036854775808", 400, ""},
		{"GET", "/inc?amount=9223372036854775807", 422, ""},
		{"GET", "/inc/?amount=3", 404, ""},
		{"GET", "/nosuch", 404, ""},
		{"DELETE", "/inc?amount=1", 405, ""},
		{"GET", "/inc?amount=1&amount=1", 400, ""},
		{"POST", "/", 405, ""},
		{"HEAD", "/inc?amount=1", 405, ""},
		{"PUT", "/inc?amount=1", 405, ""},
		{"OPTIONS", "/inc?amount=1", 405, ""},
		{"GET", "/inc?amount=+1", 400, ""}, // a plus sign is a space in a query
		{"GET", "/inc?amount=1_000", 400, ""},
		{"GET", "/inc?amount=0x10", 400, ""},
		{"GET", "/inc?amount=%D9%A3", 400, ""}, // a digit, and none of ours
		{"GET", "/inc?amount=-9223372036854775808", 400, ""},
		{"GET", "/inc?amount=-9223372036854775809", 400, ""},
		{"GET", "/inc?amount=1&x=%zz", 400, ""},
		{"GET", "/inc?amount=1;amount=2", 400, ""},
		{"GET", "/inc?amount=1&acks=local&acks=wan:1", 400, ""},
		{"GET", "/?read=local&read=exact", 400, ""},
		{"GET", "/", 200, "2\n"},
	} {
		code, kind, body := ask(t, step.method, s.URL+step.path)
		require.Equal(t, step.code, code, "%s %s: %s", step.method, step.path, body)
		require.Contains(t, kind, "text/plain")
		if step.body != "" {
			require.Equal(t, step.body, body)
		}
	}
	resp, err := http.PostForm(s.URL+"/inc?amount=4", url.Values{"amount": {"5"}}) //nolint:noctx // which of the two?
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, 400, resp.StatusCode)
	resp, err = http.PostForm(s.URL+"/inc", url.Values{"amount": {"5"}}) //nolint:noctx // a form as browsers send it
	require.NoError(t, err)
	data, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, "7\n", string(data))
	http.DefaultClient.CloseIdleConnections()

	code, kind, body := ask(t, "GET", s.URL+"/verbose")
	require.Equal(t, 200, code)
	require.Equal(t, "application/json", kind)
	var verbose struct {
		Info struct {
			Value string
			Slots []struct{ Added, Subtracted string }
		}
	}
	require.NoError(t, json.Unmarshal([]byte(body), &verbose))
	require.Equal(t, "7", verbose.Info.Value)
	require.Equal(t, "8", verbose.Info.Slots[0].Added)
	_, kind, body = ask(t, "GET", s.URL+"/cluster")
	require.Equal(t, "application/json", kind)
	require.JSONEq(t, `[{"name":"nh1","id":"a","region":"ord","kind":"","api":"127.0.0.1:1","self":true}]`, body)
}

func TestARetriedIncCountsOnce(t *testing.T) {
	c := newCluster("counter/default")
	s := c.web(t)
	for range 3 {
		code, _, body := ask(t, "POST", s.URL+"/inc?amount=4", "Idempotency-Key", "1700000000000-abc")
		require.Equal(t, 200, code)
		require.Equal(t, "4\n", body)
	}
	c.change(func() { c.lost = true })
	_, _, body := ask(t, "POST", s.URL+"/inc?amount=4", "Idempotency-Key", "another")
	require.Equal(t, "8\n", body)
	code, _, _ := ask(t, "POST", s.URL+"/inc?amount=5", "Idempotency-Key", "another")
	require.Equal(t, 409, code)
	code, _, _ = ask(t, "POST", s.URL+"/inc?amount=5", "Idempotency-Key", "1600000000000-old")
	require.Equal(t, 409, code, "whether it was counted is not known")
	c.change(func() { c.lost = true })
	code, _, _ = ask(t, "POST", s.URL+"/inc?amount=4")
	require.Equal(t, 504, code)
	c.change(func() { c.down = fault.New(fault.NoQuorum, "nobody is there") })
	code, _, _ = ask(t, "GET", s.URL+"/")
	require.Equal(t, 503, code)
}

// TestAFormThatIsNotWhole: what is cut off or cannot be read is no half a request, and a key
// that is empty protects nobody.
func TestAFormThatIsNotWhole(t *testing.T) {
	c := newCluster("counter/default")
	s := c.web(t)
	const form = "application/x-www-form-urlencoded"
	for _, step := range []struct {
		what, kind, body string
		code             int
	}{
		{"it is long", form, "amount=1&x=" + strings.Repeat("y", 100_000), 413},
		{"it cannot be read", form, "amount=1&x=%zz", 400},
		{"it is none", "application/json", `{"amount":1}`, 400},
		{"its kind cannot be read", "text/;", "amount=1", 400},
		{"it has parts, one twice", "multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"amount\"\r\n\r\n1\r\n--b\r\nContent-Disposition: form-data; name=\"amount\"\r\n\r\n1\r\n--b--\r\n", 400},
		{"its parts are cut off", "multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"amount\"\r\n\r\n1", 400},
		{"it has parts", "multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"amount\"\r\n\r\n1\r\n--b--\r\n", 200},
	} {
		resp, err := http.Post(s.URL+"/inc", step.kind, strings.NewReader(step.body)) //nolint:noctx // a form as browsers send it
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, step.code, resp.StatusCode, step.what)
	}
	for _, keys := range [][]string{{""}, {"a", "b"}, {"", "a"}} {
		req, err := http.NewRequestWithContext(within(t), http.MethodGet, s.URL+"/inc?amount=1", nil)
		require.NoError(t, err)
		req.Header["Idempotency-Key"] = keys
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, 400, resp.StatusCode, "%q", keys)
	}
	_, _, body := ask(t, "GET", s.URL+"/")
	require.Equal(t, "1\n", body)
}

func TestTheV1Paths(t *testing.T) {
	c := newCluster(group)
	v1 := c.web(t).URL + "/v1/counters/hits"
	code, _, _ := ask(t, "GET", v1)
	require.Equal(t, 404, code)
	code, kind, body := ask(t, "POST", v1+"?amount=6&key=a")
	require.Equal(t, 200, code, body)
	require.Equal(t, "application/json", kind)
	require.Contains(t, strings.ReplaceAll(body, " ", ""), `"value":"6"`)
	for _, path := range []string{"?key=a", "/windows?key=a&resolution=minute", "/rate?key=a&over=10s", "/list?prefix=a"} {
		code, _, body = ask(t, "GET", v1+path)
		require.Equal(t, 200, code, "%s: %s", path, body)
	}
	code, _, body = ask(t, "POST", v1+"/reset?key=a")
	require.Equal(t, 200, code)
	require.Contains(t, strings.ReplaceAll(body, " ", ""), `"value":"0"`)
	code, _, _ = ask(t, "DELETE", v1+"?key=a")
	require.Equal(t, 200, code)
	for path, want := range map[string]int{
		"/windows?resolution=year": 400, "/rate?over=x": 400, "?key=a": 404, "/list?prefix=%0a": 400,
		"/windows?key=a": 404, "/rate?key=a": 404, "/list?limit=-1": 400, "/list?limit=0": 400, "/list?limit=1001": 400, "/list?limit=1000": 200,
	} {
		code, _, _ = ask(t, "GET", v1+path)
		require.Equal(t, want, code, path)
	}
	code, _, _ = ask(t, "GET", strings.Replace(v1, "hits", "none", 1))
	require.Equal(t, 404, code)
}
