package polling

import (
	"net/http"
	"strconv"
	"sync"
)

// Kept is how many publications of a channel a board remembers.
const Kept = 1024

// Board has the newest publications of each channel. The zero value is empty; all methods may be called concurrently.
type Board struct {
	mu       sync.RWMutex
	channels map[string]*channel // Guarded by mu, with all that is behind it.
}

// channel keeps publication n at n modulo Kept, with its length before it.
type channel struct {
	count  int
	recent [Kept][]byte
}

// Add enters a publication.
func (b *Board) Add(name, body string) {
	entry := strconv.AppendInt(make([]byte, 0, len(body)+8), int64(len(body)), 10)
	entry = append(append(entry, '\n'), body...)
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.channels[name]
	if c == nil {
		if b.channels == nil {
			b.channels = make(map[string]*channel)
		}
		c = new(channel)
		b.channels[name] = c
	}
	c.recent[c.count%Kept] = entry
	c.count++
}

// answer appends the body of an answer to out. A negative after stands for none. known is false when after is not on the board.
func (b *Board) answer(out []byte, name string, after int) (body []byte, known bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	c := b.channels[name]
	if c == nil {
		return append(out, "0\n"...), after <= 0
	}
	out = append(strconv.AppendInt(out, int64(c.count), 10), '\n')
	switch {
	case after < 0:
		return out, true
	case after > c.count || after < c.count-Kept:
		return out, false
	}
	for n := after; n < c.count; n++ {
		out = append(out, c.recent[n%Kept]...)
	}
	return out, true
}

// ServeHTTP implements [http.Handler].
func (b *Board) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	after := -1
	if text := query.Get("after"); text != "" {
		n, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			http.Error(w, "after: "+strconv.Quote(text)+" is no position", http.StatusBadRequest)
			return
		}
		after = int(n)
	}
	name := query.Get("channel")
	if name == "" || r.Method != http.MethodGet {
		http.Error(w, "want GET ?channel=CHANNEL&after=POSITION", http.StatusBadRequest)
		return
	}
	body, known := b.answer(make([]byte, 0, 512), name, after)
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	if !known {
		w.WriteHeader(http.StatusGone)
	}
	_, _ = w.Write(body) // a client that is gone asks again
}
