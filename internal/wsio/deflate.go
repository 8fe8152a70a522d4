package wsio

import (
	"compress/flate"
	"errors"
	"io"
)

// flushed is what ends the output of a flush, and is left out of a message (RFC 7692 section 7.2.1). Reading, it is
// put back, and an empty final block behind it, so that the inflater comes to an end.
const (
	flushed  = "\x00\x00\xff\xff"
	finished = flushed + "\x01\x00\x00\xff\xff"
)

// maxWindow is how far back DEFLATE refers, in bytes (RFC 1951 section 2).
const maxWindow = 32 << 10

// MaxDeflated is how long a compressed message of at most n bytes may be: what cannot be compressed grows a little.
func MaxDeflated(n int) int { return n + n>>10 + 64 }

// Deflater compresses messages, each by itself (RFC 7692 section 7.2.1). It holds about 1 MB and belongs to one
// goroutine at a time.
type Deflater struct {
	w   *flate.Writer
	out sliceWriter
}

type sliceWriter struct{ b []byte }

func (s *sliceWriter) Write(p []byte) (int, error) {
	s.b = append(s.b, p...)
	return len(p), nil
}

// NewDeflater makes one of a level of 1 (fast) to 9 (small).
func NewDeflater(level int) (*Deflater, error) {
	w, err := flate.NewWriter(nil, level)
	if err != nil {
		return nil, err
	}
	return &Deflater{w: w}, nil
}

// maxKept is the largest buffer of output that is kept for the next message, in bytes.
const maxKept = 256 << 10

// Deflate compresses payload. What it returns is valid until the next call.
func (d *Deflater) Deflate(payload []byte) []byte {
	if d.out.b = d.out.b[:0]; cap(d.out.b) > maxKept {
		d.out.b = nil
	}
	d.w.Reset(&d.out)
	_, _ = d.w.Write(payload) // the slice takes everything
	_ = d.w.Flush()
	return d.out.b[:len(d.out.b)-len(flushed)]
}

// Inflater reads compressed messages, each by itself (RFC 7692 section 7.2.2). It holds about 45 KB and belongs to one
// goroutine at a time.
type Inflater struct {
	r  io.ReadCloser
	in source
}

// source is a message and what was left out behind it. It is an io.ByteReader, so that flate reads no further than it
// must: another stream may follow a final block.
type source struct {
	payload []byte
	tail    string
}

func (s *source) ReadByte() (byte, error) {
	if len(s.payload) > 0 {
		c := s.payload[0]
		s.payload = s.payload[1:]
		return c, nil
	}
	if s.tail == "" {
		return 0, io.EOF
	}
	c := s.tail[0]
	s.tail = s.tail[1:]
	return c, nil
}

func (s *source) Read(p []byte) (n int, err error) {
	n = copy(p, s.payload)
	s.payload = s.payload[n:]
	m := copy(p[n:], s.tail)
	s.tail = s.tail[m:]
	if n += m; n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// Append appends payload, decompressed, and at most limit bytes: a message that becomes longer is refused when it does,
// not when all of it is there. Errors are [*CloseError], 1009 for that and 1007 for what is not DEFLATE.
func (f *Inflater) Append(dst, payload []byte, limit int) ([]byte, error) {
	begin := len(dst)
	f.in = source{payload, finished}
	defer func() { f.in = source{} }()
	if f.r == nil {
		f.r = flate.NewReader(&f.in)
	} else {
		_ = f.r.(flate.Resetter).Reset(&f.in, nil)
	}
	for {
		if len(dst) == cap(dst) {
			dst = append(dst, make([]byte, max(512, min(len(dst), limit)))...)[:len(dst)]
		}
		n, err := f.r.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		switch {
		case len(dst)-begin > limit:
			return dst[:begin], errTooBig
		case errors.Is(err, io.EOF) && f.in.tail == "":
			return dst, nil
		case errors.Is(err, io.EOF): // a final block, and more behind it (RFC 7692 section 7.2.1)
			_ = f.r.(flate.Resetter).Reset(&f.in, dst[max(begin, len(dst)-maxWindow):])
		case err != nil:
			return dst[:begin], errDeflate
		}
	}
}
