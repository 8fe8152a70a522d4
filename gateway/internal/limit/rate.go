package limit

// Rate bounds how much may come in a second, as a token bucket does: Burst at once, and as much again as time goes by. The zero
// value bounds nothing.
type Rate struct {
	PerSecond int // at most 1<<31
	Burst     int // at least what is taken at once; at most 1<<31
}

// On reports whether it bounds anything.
func (r Rate) On() bool { return r.PerSecond > 0 }

// NewRate is one whose burst is what a second allows, or least if that is more. Without perSecond it bounds nothing.
func NewRate(perSecond, least int) Rate { return Rate{perSecond, max(perSecond, least)} }

// drained is how much of used, in thousandths, is left after some milliseconds.
func (r Rate) drained(used, ms int64) int64 {
	if ms > used/int64(r.PerSecond) {
		return 0
	}
	return used - ms*int64(r.PerSecond)
}

// wait is how many milliseconds it takes until n fits on top of used, which is in thousandths: 0 when it fits now.
func (r Rate) wait(used int64, n int) int64 {
	over := used + 1000*int64(n) - 1000*int64(r.Burst)
	if over <= 0 {
		return 0
	}
	return (over + int64(r.PerSecond) - 1) / int64(r.PerSecond)
}

// Meter measures one connection: how much of its bursts is used, in thousandths. What is refused counts too, so that who does not slow down is
// not served at all in the end. The zero value is one that has been quiet.
type Meter struct {
	bytes  int64
	frames int32
	at     uint32 // ms; the difference is right for 49 days, and then too small: nobody is refused for that
}

// Rates are what a Meter is held against.
type Rates struct {
	Frames Rate // PerSecond and Burst at most MaxFrameRate
	Bytes  Rate
}

// MaxFrameRate is the highest rate of frames that a Meter can tell.
const MaxFrameRate = 500_000

// On reports whether anything is bounded.
func (r *Rates) On() bool { return r.Frames.On() || r.Bytes.On() }

// Verdict on one frame.
type Verdict struct {
	Limit Limit // that is overrun; None: the frame may pass
	Retry int64 // milliseconds after which the same frame, sent again, passes
	Over  bool  // as much again as the burst has been refused: it goes on and on
}

// Take counts a frame of n bytes at a time.
func (m *Meter) Take(now uint32, n int, r *Rates) (v Verdict) {
	ms := int64(now - m.at)
	m.at = now
	if r.Frames.On() {
		used := r.Frames.drained(int64(m.frames), ms)
		v.take(FrameRate, r.Frames, &used, 1)
		m.frames = int32(used)
	}
	if r.Bytes.On() {
		m.bytes = r.Bytes.drained(m.bytes, ms)
		v.take(ByteRate, r.Bytes, &m.bytes, n)
	}
	return v
}

// take takes n, and says so when that is too much. Retry is right when the verdict is whole.
func (v *Verdict) take(l Limit, r Rate, used *int64, n int) {
	fits := r.wait(*used, n) == 0
	*used = min(*used+1000*int64(n), 2000*int64(r.Burst)+1)
	if !fits {
		v.Limit = l
		v.Over = v.Over || *used > 2000*int64(r.Burst)
	}
	v.Retry = max(v.Retry, r.wait(*used, n))
}
