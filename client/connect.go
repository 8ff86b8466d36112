package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"
)

const (
	// scheme makes gRPC leave names to the system at each dial, so that a server that
	// moved is found. People never see it.
	scheme = "passthrough:///"
	// probeWithin bounds the look at a server that hung up, probeAgain how often it is
	// looked at.
	probeWithin = 500 * time.Millisecond
	probeAgain  = 5 * time.Second
)

// What is said when one side speaks TLS and the other does not.
const (
	serverIsPlain = "the server does not speak TLS: leave CA, certificate and key out"
	serverIsTLS   = "the server speaks TLS: set CA, certificate and key"
)

// ready waits until the connection is established. It waits for no second try,
// because another server may be there: the call itself then fails at once, unsent, and
// says why.
func (p *pool) ready(ctx context.Context, addr string, c *grpc.ClientConn) error {
	if c.GetState() == connectivity.Ready {
		return nil // nearly always, and then not worth a timer
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	for {
		state := c.GetState()
		switch state {
		case connectivity.Ready, connectivity.TransientFailure:
			return nil
		case connectivity.Shutdown:
			return errClosed
		case connectivity.Idle:
			c.Connect()
		case connectivity.Connecting:
		}
		if !c.WaitForStateChange(ctx, state) {
			if before := p.finding(addr).why; before != "" {
				return fmt.Errorf("cannot connect: %w; the try before: %s", ctx.Err(), before)
			}
			return fmt.Errorf("cannot connect: %w", ctx.Err())
		}
	}
}

// finding is what the last failure to connect to an address was.
type finding struct {
	why    string
	probed time.Time // when it was last looked at with TLS; zero for never
	tls    bool      // it spoke TLS then
}

func (p *pool) finding(addr string) finding {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.findings[addr]
}

// explain gives the error of a call that was not sent the words that people need.
func (p *pool) explain(ctx context.Context, addr string, err error) error {
	st, ok := status.FromError(err)
	if !ok || st.Code() != codes.Unavailable {
		return err
	}
	why, ok := connectCause(st.Message())
	if !ok {
		return err
	}
	f := p.finding(addr)
	switch secure := p.creds.Info().SecurityProtocol == "tls"; {
	case secure && strings.Contains(why, "first record does not look like a TLS handshake"):
		why = serverIsPlain
	case !secure && hungUp(why):
		if time.Since(f.probed) > probeAgain {
			f.tls, f.probed = speaksTLS(ctx, addr), time.Now()
		}
		if f.tls {
			why = serverIsTLS
		}
	}
	f.why = why
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.findings != nil {
		p.findings[addr] = f
	}
	return status.Error(codes.Unavailable, "cannot connect: "+why)
}

// connectCause takes the cause out of what gRPC says of a connection that it could
// not make; false when it says something else.
func connectCause(text string) (string, bool) {
	const before, quoted = "connection error: ", `desc = "`
	i := strings.LastIndex(text, before)
	if i < 0 {
		return "", false
	}
	text = text[i+len(before):]
	if start := strings.Index(text, quoted); start >= 0 {
		whole := text[start+len(quoted)-1:]
		if q, err := strconv.QuotedPrefix(whole); err == nil {
			text, _ = strconv.Unquote(q) // QuotedPrefix has seen that it can be
		}
	}
	for _, noise := range []string{"transport: ", "Error while dialing: "} {
		text = strings.TrimPrefix(text, noise)
	}
	return strings.ReplaceAll(text, scheme, ""), true
}

// hungUp tells whether the server took the connection and ended it without a word,
// as one does that waits for a TLS handshake.
func hungUp(why string) bool {
	return strings.Contains(why, "server preface") || strings.Contains(why, "EOF") || strings.Contains(why, "reset by peer")
}

// speaksTLS tells whether the server at addr answers a TLS handshake.
func speaksTLS(ctx context.Context, addr string) bool {
	ctx, cancel := context.WithTimeout(ctx, probeWithin)
	defer cancel()
	spoke := false
	d := &tls.Dialer{Config: &tls.Config{
		InsecureSkipVerify: true, //nolint:gosec // nothing is sent: the question is what the server speaks
		VerifyConnection:   func(tls.ConnectionState) error { spoke = true; return nil },
	}}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err == nil {
		_ = conn.Close() // nothing was sent
	}
	var alert tls.AlertError
	return spoke || errors.As(err, &alert)
}
