package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"time"

	"github.com/millracehq/millrace/gateway/protocol"
	"github.com/millracehq/millrace/gateway/stream"
)

const (
	maxOrder    = 4 << 10 // bytes
	maxUser     = 256     // bytes, as in a token
	maxText     = 512     // bytes
	controlWait = 5 * time.Second
)

// order is the body of a request.
type order struct {
	User    string `json:"user"`
	Channel string `json:"channel"` // of a revoke
	Text    string `json:"text"`    // for the client; optional
}

// control is POST /api/kick or /api/revoke. 200 means that the order is in the streams: each gateway acts on it as soon as it reads it. Each order
// that was written is a line in the log.
type control struct {
	kind  stream.Kind
	write func(ctx context.Context, p *stream.Publication) (entry string, err error)
	log   *slog.Logger
}

func (c *control) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	fail := func(status int, err error) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": err.Error()})
	}
	if req.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		fail(http.StatusMethodNotAllowed, errors.New("use POST"))
		return
	}
	if req.Header.Get("Origin") != "" {
		fail(http.StatusForbidden, errors.New("not from a web page: a browser may be made to send this by any page that it shows"))
		return
	}
	if kind, _, _ := mime.ParseMediaType(req.Header.Get("Content-Type")); kind != "application/json" {
		fail(http.StatusUnsupportedMediaType, errors.New("the body must be application/json: say so in Content-Type"))
		return
	}
	o, err := c.read(http.MaxBytesReader(w, req.Body, maxOrder))
	if err != nil {
		fail(http.StatusBadRequest, err)
		return
	}
	ctx, done := context.WithTimeout(req.Context(), controlWait)
	defer done()
	entry, err := c.write(ctx, &stream.Publication{Kind: c.kind, Channel: o.Channel, User: o.User, Data: o.Text})
	if err != nil {
		fail(http.StatusServiceUnavailable, fmt.Errorf("the streams did not take it: %w", err))
		return
	}
	c.log.Info("ordered on the admin address", "what", string(c.kind), "user", o.User, "channel", o.Channel, "text", o.Text, "entry", entry, "by", req.RemoteAddr)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{"entry": entry}) // an error: the one who asked has gone
}

// read reads an order. It is strict: a member that is not known is one that somebody relies on in vain.
func (c *control) read(body io.Reader) (o order, err error) {
	in := json.NewDecoder(body)
	in.DisallowUnknownFields()
	if err := in.Decode(&o); err != nil {
		return o, fmt.Errorf("the body is not as it should be: %w", err)
	}
	if _, err := in.Token(); !errors.Is(err, io.EOF) {
		return o, errors.New("there is something behind the JSON object")
	}
	if len(o.User) == 0 || len(o.User) > maxUser {
		return o, fmt.Errorf("user: want 1 to %d bytes", maxUser)
	}
	for _, b := range []byte(o.User) {
		if b <= 0x20 || b > 0x7e {
			return o, errors.New("user: want printable ASCII without spaces")
		}
	}
	if len(o.Text) > maxText {
		return o, fmt.Errorf("text: want at most %d bytes", maxText)
	}
	if c.kind == stream.KindKick && o.Channel != "" {
		return o, errors.New("channel: a kick has none; POST /api/revoke ends a subscription")
	}
	if c.kind == stream.KindRevoke {
		if err := protocol.CheckChannel([]byte(o.Channel)); err != nil {
			return o, fmt.Errorf("channel: %w", err)
		}
	}
	return o, nil
}
