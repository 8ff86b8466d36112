package limit

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
)

// Request chooses the limiter of an HTTP request; nil lets it pass.
type Request func(r *http.Request) Limiter

// Requests chooses one limiter for all requests.
func Requests(l Limiter) Request { return func(*http.Request) Limiter { return l } }

// acquire asks the request's limiter.
func (f Request) acquire(r *http.Request) (func(), error) {
	l := f(r)
	if l == nil {
		return nothing, nil
	}
	return l.Acquire(r.Context())
}

// transport is a RoundTripper whose requests wait.
type transport struct {
	next   http.RoundTripper
	choose Request
}

// Transport makes the requests of an HTTP client wait for their capacity. A request is
// under way until its response's body is closed. next nil means http.DefaultTransport.
func Transport(next http.RoundTripper, choose Request) http.RoundTripper {
	if next == nil {
		next = http.DefaultTransport
	}
	return &transport{next: next, choose: choose}
}

// RoundTrip waits, then sends the request.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	done, err := t.choose.acquire(r)
	if err != nil {
		if r.Body != nil {
			err = errors.Join(err, r.Body.Close()) // a RoundTripper always closes it
		}
		return nil, err
	}
	resp, err := t.next.RoundTrip(r)
	if err != nil {
		done()
		return nil, err
	}
	resp.Body = wrapBody(resp.Body, sync.OnceFunc(done))
	return resp, nil
}

// body tells when a response is over.
type body struct {
	io.ReadCloser
	done func()
}

// Close closes the body and ends the call.
func (b *body) Close() error {
	defer b.done()
	return b.ReadCloser.Close()
}

// writableBody is a body of a connection that changed its protocol.
type writableBody struct {
	body
	io.Writer
}

// wrapBody keeps what http.Response promises of a body: that of a protocol switch is
// written to as well.
func wrapBody(rc io.ReadCloser, done func()) io.ReadCloser {
	if w, ok := rc.(io.Writer); ok {
		return &writableBody{body: body{ReadCloser: rc, done: done}, Writer: w}
	}
	return &body{ReadCloser: rc, done: done}
}

// Middleware limits the requests that an HTTP server takes. What a limiter refuses is
// answered 429 (limiters made by NoWait refuse at once), what its client gave up is not.
func Middleware(choose Request) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			done, err := choose.acquire(r)
			switch {
			case err == nil:
				defer done()
				next.ServeHTTP(w, r)
			case errors.Is(err, context.Canceled):
				// nobody waits for an answer
			default:
				w.Header().Set("Retry-After", "1")
				http.Error(w, "too many requests: "+err.Error(), http.StatusTooManyRequests)
			}
		})
	}
}
