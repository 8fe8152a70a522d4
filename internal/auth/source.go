package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

const (
	maxDocument  = 1 << 20         // bytes of a JWKS
	fetchTimeout = 5 * time.Second // for all of one fetch
	retryFirst   = time.Second     // after a fetch that failed; then twice as long each time
	retryMost    = time.Minute
	fetchGap     = 10 * time.Second // between two fetches, whatever kids tokens name
)

// SourceConfig says where keys come from.
type SourceConfig struct {
	Location string        // path of a file, or URL
	Plain    bool          // http:// will do for another host than this one
	Refresh  time.Duration // fetched anew so often; default 5 min
	MaxAge   time.Duration // without a fetch that worked, keys are good for so long; default 1 h
	Client   *http.Client  // default: one with a timeout, which follows redirects to https only
	Logger   *slog.Logger  // default: none
}

// Source keeps a key set (JWKS) and fetches it anew: now and then, and when a token names a key that is not in it, though not more often than every 10 s.
// When it cannot, the keys that are there go on being good for a while, and then none is.
type Source struct {
	// Immutable after NewSource.
	cfg   SourceConfig
	isURL bool
	want  chan struct{} // one token: somebody has named a key that is not known

	// Atomic.
	set                      atomic.Pointer[keySet]
	fault                    atomic.Pointer[string] // of the last fetch; nil: it worked
	fetched, failed, unknown atomic.Uint64
}

// keySet is what one fetch brought.
type keySet struct {
	keys []*Key
	at   time.Time
}

// SourceStats are numbers since the start, and what there is.
type SourceStats struct {
	Fetched, Failed uint64 // fetches
	Unknown         uint64 // tokens that named a key that was not there
	Keys            int
	Age             time.Duration // of the keys; 0 without any
}

// NewSource checks the location; Run fetches.
func NewSource(cfg SourceConfig) (*Source, error) {
	if cfg.Refresh == 0 {
		cfg.Refresh = 5 * time.Minute
	}
	if cfg.MaxAge == 0 {
		cfg.MaxAge = time.Hour
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Source{cfg: cfg, isURL: strings.Contains(cfg.Location, "://"), want: make(chan struct{}, 1)}
	if !s.isURL {
		return s, nil
	}
	u, err := url.Parse(cfg.Location)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("%q is not a URL", cfg.Location)
	}
	if u.Scheme != "https" && u.Scheme != "http" {
		return nil, fmt.Errorf("%s:// is neither https:// nor http://", u.Scheme)
	}
	if u.Scheme == "http" && !cfg.Plain && !local(u.Hostname()) {
		return nil, fmt.Errorf("%s: who is on the way could put keys of his own there; use https://, or say --insecure", u.Redacted())
	}
	if s.cfg.Client == nil {
		s.cfg.Client = &http.Client{Timeout: fetchTimeout, CheckRedirect: func(to *http.Request, via []*http.Request) error {
			if len(via) > 3 {
				return errors.New("more than 3 redirects")
			}
			if to.URL.Scheme != "https" && to.URL.Scheme != via[0].URL.Scheme {
				return errors.New("a redirect away from https")
			}
			return nil
		}}
	}
	return s, nil
}

func local(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Keys are those that are good now, nil when none were fetched for too long.
func (s *Source) Keys() []*Key {
	if set := s.set.Load(); set != nil && time.Since(set.at) < s.cfg.MaxAge {
		return set.keys
	}
	return nil
}

// Ready says why there are no keys, nil when there are.
func (s *Source) Ready() error {
	if len(s.Keys()) > 0 {
		return nil
	}
	if fault := s.fault.Load(); fault != nil {
		return errors.New("no keys for credentials: " + *fault)
	}
	return errors.New("no keys for credentials")
}

// Unknown says that a token names a key that is not there: it may be new. It does not wait.
func (s *Source) Unknown() {
	s.unknown.Add(1)
	select {
	case s.want <- struct{}{}:
	default:
	}
}

// Fetch fetches once, and returns when that has worked or failed; what became of it is logged, and said by Ready.
func (s *Source) Fetch(ctx context.Context) (worked bool) {
	select {
	case <-s.want: // whoever has asked so far is served by this
	default:
	}
	ctx, done := context.WithTimeout(ctx, fetchTimeout)
	defer done()
	text, err := s.read(ctx)
	var keys []*Key
	var skipped []error
	if err == nil {
		keys, skipped, err = ParseJWKS(text)
	}
	if ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled) {
		return false
	}
	before := s.set.Load()
	if err != nil {
		s.failed.Add(1)
		fault := err.Error()
		if s.fault.Swap(&fault) == nil {
			s.cfg.Logger.Warn("cannot fetch the keys for credentials", "from", s.where(), "err", err, "good_for", s.left(before))
		}
		return false
	}
	s.fetched.Add(1)
	s.set.Store(&keySet{keys: keys, at: time.Now()})
	if s.fault.Swap(nil) != nil || before == nil || names(before.keys) != names(keys) {
		s.cfg.Logger.Info("keys for credentials", "from", s.where(), "keys", names(keys), "skipped", len(skipped))
		for _, err := range skipped {
			s.cfg.Logger.Warn("a key for credentials is not used", "from", s.where(), "err", err)
		}
		if len(keys) == 0 {
			s.cfg.Logger.Warn("there are no keys for credentials: every token is refused", "from", s.where())
		}
	}
	return true
}

// Run fetches until ctx is done. It begins with a wait, since Fetch has been called.
func (s *Source) Run(ctx context.Context) {
	retry, last := retryFirst, time.Now()
	for worked := s.fault.Load() == nil; ; worked = s.Fetch(ctx) {
		wait := s.cfg.Refresh
		if worked {
			retry = retryFirst
		} else {
			wait = retry
			retry = min(2*retry, retryMost)
		}
		tick := time.NewTimer(wait)
		select {
		case <-tick.C:
		case <-s.want:
			tick.Reset(max(fetchGap-time.Since(last), 0))
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		case <-ctx.Done():
		}
		tick.Stop()
		if ctx.Err() != nil {
			return
		}
		last = time.Now()
	}
}

func (s *Source) read(ctx context.Context) ([]byte, error) {
	if !s.isURL {
		f, err := os.Open(s.cfg.Location)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return limited(f)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.cfg.Location, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	res, err := s.cfg.Client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("HTTP status %s", res.Status)
	}
	return limited(res.Body)
}

func limited(r io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxDocument+1))
	if err == nil && len(text) > maxDocument {
		err = errors.New("the JWKS has more than 1 MiB")
	}
	return text, err
}

// where is the location without a password.
func (s *Source) where() string {
	if u, err := url.Parse(s.cfg.Location); err == nil && s.isURL {
		return u.Redacted()
	}
	return s.cfg.Location
}

func (s *Source) left(set *keySet) time.Duration {
	if set == nil {
		return 0
	}
	return max(0, s.cfg.MaxAge-time.Since(set.at)).Round(time.Second)
}

func names(keys []*Key) string {
	list := make([]string, len(keys))
	for i, k := range keys {
		list[i] = [...]string{"", "HS256", "RS256", "ES256", "EdDSA"}[k.alg] + " " + k.id
	}
	return strings.Join(list, ", ")
}

// Stats may be called from any goroutine.
func (s *Source) Stats() SourceStats {
	st := SourceStats{Fetched: s.fetched.Load(), Failed: s.failed.Load(), Unknown: s.unknown.Load(), Keys: len(s.Keys())}
	if set := s.set.Load(); set != nil {
		st.Age = time.Since(set.at)
	}
	return st
}
