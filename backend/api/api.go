package api

import (
	"context"
	_ "embed"
	"log/slog"
	"net/http"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/millracehq/millrace/backend/store"
	"github.com/millracehq/millrace/internal/auth"
)

// Bounds of a request.
const (
	maxBody       = 64 << 10 // bytes
	maxImport     = 32 << 20 // bytes
	maxTogether   = 256      // requests at a time; more are answered 503
	timeLimit     = 15 * time.Second
	importTime    = 2 * time.Minute
	exportTime    = 10 * time.Minute
	writeTimeout  = 30 * time.Second // for each piece of an export
	defaultLimit  = 50               // of a page
	maxLimit      = 500
	maxSearchPage = 100
)

// Config says what an API works with.
type Config struct {
	Store    store.Store
	Verifier *auth.Verifier
	Revoke   func(ctx context.Context, channel, user string) error // ends the user's subscriptions to a channel
	Demo     *Demo                                                 // nil: nobody can sign in here
	Metrics  *metrics.Set
	Logger   *slog.Logger // default: discards
}

// API is an [http.Handler] for the paths under /v1/, /demo/ and /openapi.json.
type API struct {
	cfg      Config
	mux      *http.ServeMux
	together chan struct{} // a place for each request that is being worked on
}

//go:embed openapi.json
var document []byte

// New makes an API.
func New(cfg Config) *API {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	a := &API{cfg: cfg, mux: http.NewServeMux(), together: make(chan struct{}, maxTogether)}
	cfg.Metrics.NewGauge("millrace_api_requests", func() float64 { return float64(len(a.together)) })
	for _, r := range a.routes() {
		if cfg.Demo != nil || !r.demo {
			a.mux.Handle(r.method+" "+r.path, a.handler(r))
		}
	}
	a.mux.Handle("/", a.handler(route{path: "/", open: true, handle: a.nowhere}))
	return a
}

// ServeHTTP implements [http.Handler].
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.mux.ServeHTTP(w, r) }

// route is one operation of the document.
type route struct {
	method, path string
	open         bool // to who has not signed in
	demo         bool // only there with a [Demo]
	time         time.Duration
	handle       func(*call) error
}

func (a *API) routes() []route {
	const (
		workspace = "/v1/workspaces/{workspace}"
		member    = workspace + "/members/{user}"
		board     = "/v1/boards/{board}"
	)
	return []route{
		{method: "GET", path: "/openapi.json", open: true, handle: a.document},
		{method: "POST", path: "/demo/token", open: true, demo: true, handle: a.demoToken},
		{method: "GET", path: "/v1/me", handle: a.me},
		{method: "GET", path: "/v1/workspaces", handle: a.workspaces},
		{method: "POST", path: "/v1/workspaces", handle: a.createWorkspace},
		{method: "GET", path: workspace, handle: a.workspace},
		{method: "GET", path: workspace + "/members", handle: a.members},
		{method: "GET", path: member, handle: a.member},
		{method: "PUT", path: member, handle: a.putMember},
		{method: "DELETE", path: member, handle: a.deleteMember},
		{method: "GET", path: workspace + "/boards", handle: a.boardsOf},
		{method: "POST", path: workspace + "/boards", handle: a.createBoard},
		{method: "POST", path: workspace + "/imports", handle: a.importBoard, time: importTime},
		{method: "GET", path: "/v1/boards", handle: a.boards},
		{method: "GET", path: board, handle: a.board},
		{method: "PATCH", path: board, handle: a.renameBoard},
		{method: "GET", path: board + "/snapshot", handle: a.snapshot},
		{method: "GET", path: board + "/snapshots/{seq}", handle: a.snapshotAt},
		{method: "GET", path: board + "/cards/{card}/history", handle: a.history},
		{method: "GET", path: board + "/conflicts", handle: a.conflicts},
		{method: "GET", path: board + "/export", handle: a.export, time: exportTime},
		{method: "GET", path: "/v1/search", handle: a.search},
	}
}

func (a *API) document(c *call) error {
	c.header("Content-Type", "application/vnd.oai.openapi+json;version=3.1")
	c.header("Cache-Control", "public, max-age=300")
	c.write(http.StatusOK, document)
	return nil
}

// nowhere answers what no route is for.
func (a *API) nowhere(c *call) error {
	var allowed []string
	for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
		r := c.r.Clone(c.r.Context())
		r.Method = method
		if _, pattern := a.mux.Handler(r); pattern != "/" {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) == 0 {
		return problem(http.StatusNotFound, "not-found", "there is nothing at this path", "GET /openapi.json lists what there is")
	}
	for _, method := range allowed {
		c.w.Header().Add("Allow", method)
	}
	return problem(http.StatusMethodNotAllowed, "method", c.r.Method+" is not for this path", "the header Allow says what is")
}
