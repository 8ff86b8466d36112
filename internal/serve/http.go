package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Limits of the HTTP port.
const (
	headerTimeout = 5 * time.Second
	idleTimeout   = 2 * time.Minute
)

func (s *Server) newHTTP() *http.Server {
	s.mux.Handle("GET /metrics", promhttp.HandlerFor(s.opts.Metrics, promhttp.HandlerOpts{
		EnableOpenMetrics: true,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}))
	s.mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok\n") })
	s.mux.HandleFunc("GET /readyz", s.readyz)
	h := &http.Server{
		Handler:           s.mux,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaders,
		ErrorLog:          log.New(newHTTPLog(s.log, s.refused.WithLabelValues(portHTTP)), "", 0),
	}
	if s.certs != nil {
		h.TLSConfig = s.certs.Server()
	}
	return h
}

// readyz is 200 when the server can serve, else 503 with the reason. With
// ?verbose it lists its checks.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	code, text := http.StatusOK, "ok\n"
	problem := s.ready()
	if problem != nil {
		code, text = http.StatusServiceUnavailable, "not ready: "+problem.Error()+"\n"
	}
	if _, verbose := r.URL.Query()["verbose"]; verbose {
		text = checkLine("serving", problem)
		if s.certs != nil {
			text += checkLine("certificate", s.certs.Problem()) // the old pair still serves
		}
	}
	answer(w, code, text)
}

func checkLine(name string, err error) string {
	if err != nil {
		return fmt.Sprintf("[-] %s: %v\n", name, err)
	}
	return fmt.Sprintf("[+] %s: ok\n", name)
}

func answer(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = io.WriteString(w, text) // the client may have left
}

func (s *Server) serveHTTP() error {
	if s.web == nil {
		return nil
	}
	var err error
	if s.certs != nil {
		err = s.http.ServeTLS(s.web, "", "")
	} else {
		err = s.http.Serve(s.web)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve HTTP: %w", err)
}

// stopHTTP lets running requests finish, and cuts them off when ctx ends.
func (s *Server) stopHTTP(ctx context.Context) error {
	if err := s.http.Shutdown(ctx); err == nil {
		return nil
	}
	if err := s.http.Close(); err != nil {
		return fmt.Errorf("stop HTTP: %w", err)
	}
	return nil
}
