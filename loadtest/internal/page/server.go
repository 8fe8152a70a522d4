package page

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/millracehq/millrace/loadtest"
)

const (
	maxClients  = 32              // connections at a time; the others wait
	farewell    = 3 * time.Second // for open pages to see how the run ended
	shutdown    = 2 * time.Second
	recentVisit = 5 * time.Second // a page is open that asked within it: it asks each second
)

// Server is the live view: the page of the run while it goes on. It is a loadtest.Output, which ends with the run.
type Server struct {
	Recorder

	// Immutable after Serve.
	listener net.Listener
	http     *http.Server
	done     chan struct{} // the listener has ended
	seen     chan struct{} // somebody has got the page of the run's end

	once     sync.Once // closes seen
	cache    sync.Mutex
	rendered []byte // the fragment of that version; guarded by cache
	version  int    // guarded by cache
	visit    time.Time
}

// Serve listens on HOST:PORT, or on loopback where there is no host. It shows to everybody who can connect what is measured: addresses other
// than loopback are for networks where all may know.
func Serve(address string) (*Server, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("--web: %q is not HOST:PORT or :PORT", address)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	ln, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, fmt.Errorf("--web: %w", err)
	}
	s := &Server{listener: newLimited(ln, maxClients), done: make(chan struct{}), seen: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.page)
	mux.HandleFunc("GET /fragment", s.fragment)
	s.http = &http.Server{
		Handler: s.guard(mux), ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: 10 * time.Second,
		MaxHeaderBytes: 16 << 10,
	}
	go func() {
		defer close(s.done)
		_ = s.http.Serve(s.listener) // ends with Shutdown
	}()
	return s, nil
}

// URL is where the view is.
func (s *Server) URL() string { return "http://" + s.listener.Addr().String() + "/" }

// guard keeps other sites' pages from reading a view on loopback through a name of theirs that leads here.
func (s *Server) guard(next http.Handler) http.Handler {
	local := s.listener.Addr().(*net.TCPAddr).IP.IsLoopback()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		if local && host != "localhost" && net.ParseIP(host) == nil {
			http.Error(w, "ask by address or as localhost", http.StatusForbidden)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
}

func (s *Server) page(w http.ResponseWriter, _ *http.Request) {
	var b bytes.Buffer
	if err := s.Render(&b, true); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(b.Bytes()) // who asked may have gone
}

// fragment answers what has changed; 204 when that is what the page has already.
func (s *Server) fragment(w http.ResponseWriter, r *http.Request) {
	text, version, err := s.current()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("X-Version", strconv.Itoa(version))
	if r.URL.Query().Get("have") == strconv.Itoa(version) {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(text) // who asked may have gone
	if s.over() {
		s.once.Do(func() { close(s.seen) })
	}
}

// current is the fragment, rendered once for each second however many ask.
func (s *Server) current() ([]byte, int, error) {
	s.cache.Lock()
	defer s.cache.Unlock()
	s.visit = time.Now()
	if v := s.Recorder.version(); v != s.version || s.rendered == nil {
		var b bytes.Buffer
		if err := s.Fragment(&b); err != nil {
			return nil, 0, err
		}
		s.rendered, s.version = b.Bytes(), v
	}
	return s.rendered, s.version, nil
}

// over says whether the run has ended.
func (r *Recorder) over() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ended
}

// Stop implements loadtest.Output: it lets an open page see the end, and closes.
func (s *Server) Stop(rep *loadtest.Report) error {
	err := s.Recorder.Stop(rep)
	s.cache.Lock()
	open := time.Since(s.visit) < recentVisit
	s.cache.Unlock()
	if open {
		select {
		case <-s.seen:
		case <-time.After(farewell):
		}
	}
	ctx, stop := context.WithTimeout(context.Background(), shutdown)
	defer stop()
	if closing := s.http.Shutdown(ctx); closing != nil {
		err = errors.Join(err, s.http.Close()) // somebody does not read
	}
	<-s.done
	return err
}

// limited is a listener that has at most so many connections.
type limited struct {
	net.Listener
	free   chan struct{}
	closed chan struct{}
	once   sync.Once
}

func newLimited(ln net.Listener, n int) *limited {
	return &limited{Listener: ln, free: make(chan struct{}, n), closed: make(chan struct{})}
}

// Accept implements net.Listener.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.free <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.free
		return nil, err
	}
	return &limitedConn{Conn: c, free: l.free}, nil
}

// Close implements net.Listener.
func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type limitedConn struct {
	net.Conn
	free chan struct{}
	once sync.Once
}

// Close implements net.Conn.
func (c *limitedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { <-c.free })
	return err
}
