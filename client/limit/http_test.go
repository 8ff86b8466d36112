package limit_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/client/limit"
)

// roundTripper is a function that answers requests.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// onlyPath limits one path.
func onlyPath(l limit.Limiter, path string) limit.Request {
	return func(r *http.Request) limit.Limiter {
		if r.URL.Path == path {
			return l
		}
		return nil
	}
}

func TestTransport(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	defer server.Close()
	s := &turnstile{}
	inner := &http.Transport{}
	defer inner.CloseIdleConnections()
	c := &http.Client{Transport: limit.Transport(inner, onlyPath(s, "/limited"))}
	get := func(path string) (*http.Response, error) {
		r, err := http.NewRequestWithContext(within(t), http.MethodPost, server.URL+path, strings.NewReader("a body"))
		require.NoError(t, err)
		return c.Do(r)
	}
	resp, err := get("/limited")
	require.NoError(t, err)
	_, underWay := s.passed()
	require.Equal(t, 1, underWay, "until the body is closed")
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, "hello", string(text))
	require.NoError(t, resp.Body.Close())
	idle(t, s, 1)
	s.refusing(limit.ErrLimited)
	_, err = get("/limited")
	require.ErrorIs(t, err, limit.ErrLimited)
	resp, err = get("/free")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	idle(t, s, 1)
}

func TestTransportOfARequestThatFails(t *testing.T) {
	broken := errors.New("broken")
	s := &turnstile{}
	rt := limit.Transport(roundTripper(func(*http.Request) (*http.Response, error) { return nil, broken }), limit.Requests(s))
	_, err := rt.RoundTrip(httptest.NewRequest(http.MethodGet, "http://x/", nil))
	require.ErrorIs(t, err, broken)
	idle(t, s, 1)
}

// readWriteCloser is the body of a connection that changed its protocol.
type readWriteCloser struct {
	io.ReadCloser
	io.Writer
}

func TestTransportOfAnotherProtocol(t *testing.T) {
	s := &turnstile{}
	var wrote strings.Builder
	rt := limit.Transport(roundTripper(func(*http.Request) (*http.Response, error) {
		return &http.Response{Body: readWriteCloser{io.NopCloser(strings.NewReader("")), &wrote}}, nil
	}), limit.Requests(s))
	resp, err := rt.RoundTrip(httptest.NewRequest(http.MethodGet, "http://x/", nil))
	require.NoError(t, err)
	w, ok := resp.Body.(io.Writer)
	require.True(t, ok)
	_, err = io.WriteString(w, "frame")
	require.NoError(t, err)
	require.Equal(t, "frame", wrote.String())
	require.NoError(t, resp.Body.Close())
	idle(t, s, 1)
}

func TestMiddleware(t *testing.T) {
	s := &turnstile{}
	h := limit.Middleware(onlyPath(s, "/limited"))(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, underWay := s.passed(); r.URL.Path == "/limited" && underWay != 1 {
			http.Error(w, "not counted", http.StatusInternalServerError)
		}
	}))
	ask := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w
	}
	require.Equal(t, http.StatusOK, ask("/limited").Code)
	idle(t, s, 1)
	for _, refusal := range []error{limit.ErrLimited, limit.ErrClosed, context.DeadlineExceeded} {
		s.refusing(refusal)
		w := ask("/limited")
		require.Equal(t, http.StatusTooManyRequests, w.Code)
		require.Equal(t, "1", w.Header().Get("Retry-After"))
		require.Contains(t, w.Body.String(), refusal.Error())
	}
	s.refusing(context.Canceled)
	require.Empty(t, ask("/limited").Body.String(), "nobody reads it")
	require.Equal(t, http.StatusOK, ask("/free").Code)
	idle(t, s, 1)
}
