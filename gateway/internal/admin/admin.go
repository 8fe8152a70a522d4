// Package admin is the gateway's HTTP side for operators: metrics, health, profiles. It is plain net/http on an address of its
// own, which belongs on loopback or a private network: it asks for no credential.
//
//	/metrics      Prometheus text
//	/healthz      200 while the process runs
//	/readyz       200 when clients can publish and hear, else 503 and the reason
//	/debug/pprof  profiles of the Go runtime
//	/debug/gc     collect now and give memory back; answers how much is in use
//	/debug/slowest?n=20  the connections with the most unsent bytes, as JSON
//	POST /api/kick    {"user": "u17"}: end all connections of a user, on all gateways
//	POST /api/revoke  {"user": "u17", "channel": "board:7"}: end a user's subscriptions to a channel
package admin

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/millracehq/millrace/gateway/stream"
)

// Server serves until Close.
type Server struct {
	ln   net.Listener
	http *http.Server
}

// Source is what a Server shows of the gateway. Its functions are called from any goroutine.
type Source struct {
	Set     *metrics.Set
	Ready   func() error                                                               // why the gateway is not ready, nil when it is
	Slowest func(ctx context.Context, n int) (any, error)                              // the n slowest connections, as a value for JSON
	Control func(ctx context.Context, p *stream.Publication) (entry string, err error) // has all gateways hear of a revoke or a kick
	Logger  *slog.Logger                                                               // who had whom kicked; default: none
}

// New binds addr; Serve serves it.
func New(addr string, from Source) (*Server, error) {
	ln, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("admin: listen on %s: %w", addr, err)
	}
	if from.Logger == nil {
		from.Logger = slog.New(slog.DiscardHandler)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/metrics", func(w http.ResponseWriter, _ *http.Request) {
		from.Set.WritePrometheus(w)
		metrics.WriteProcessMetrics(w)
	})
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "ok") })
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := from.Ready(); err != nil {
			http.Error(w, "not ready: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprintln(w, "ready")
	})
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("/debug/gc", collect)
	mux.HandleFunc("/debug/slowest", slowest(from.Slowest))
	mux.Handle("/api/kick", &control{kind: stream.KindKick, write: from.Control, log: from.Logger})
	mux.Handle("/api/revoke", &control{kind: stream.KindRevoke, write: from.Control, log: from.Logger})
	return &Server{ln: ln, http: &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}}, nil
}

func collect(w http.ResponseWriter, _ *http.Request) {
	runtime.GC()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	_, _ = fmt.Fprintf(w, "heap in use: %d bytes, %d objects\n", m.HeapInuse, m.HeapObjects)
}

// Addr is where it listens.
func (s *Server) Addr() net.Addr { return s.ln.Addr() }

// Serve returns when Close is called.
func (s *Server) Serve() { _ = s.http.Serve(s.ln) }

// Close ends it at once.
func (s *Server) Close() { _ = s.http.Close() }
