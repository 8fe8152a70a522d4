package hub

import (
	"github.com/millracehq/millrace/gateway/stream"
)

// window is the resume window of a partition: its last publications, for those who come back. Everything after floor
// and up to at is in it. Bound: Config.WindowBytes over all partitions and Config.WindowTime; policy: the oldest goes,
// older positions are served from the stream; metric: Stats.WindowBytes.
type window struct {
	epoch stream.Epoch
	at    stream.ID // where the partition stands: everything up to it has been swept
	floor stream.ID

	kept []kept // kept[head:] are in the window
	head int
	seq  uint64            // number of kept[head]; numbers begin at 1 and grow
	last map[string]uint64 // by channel: number of its newest publication in the window

	bytes  int
	asking bool // the relay has been asked for what is older
}

type kept struct {
	Publication
	prev   uint64 // number of the channel's publication before; 0 or below seq: not in the window
	packed int    // bytes of its packed form, as far as they count
}

func (k *kept) size() int { return len(k.Frame) + k.packed + keptOverhead }

// form is the frame for a connection. A packed one is taken where it is there, and not made: one connection that resumes
// is not worth a compression.
func form(p *Publication, packs bool) []byte {
	if packs && p.Packed != nil {
		if b := p.Packed.Made(); b != nil {
			return b
		}
	}
	return p.Frame
}

// keptOverhead is about what a publication costs beside its frame.
const keptOverhead = 128

func (w *window) open(at stream.Position, floor stream.ID) {
	*w = window{epoch: at.Epoch, at: at.ID, floor: floor, seq: 1, last: map[string]uint64{}}
}

func (w *window) position(id stream.ID) stream.Position {
	return stream.Position{ID: id, Epoch: w.epoch}
}

// add keeps a publication and returns its number, and by how much the window has grown.
func (w *window) add(p Publication) (n uint64, grown int) {
	n = w.seq + uint64(len(w.kept)-w.head)
	w.kept = append(w.kept, kept{Publication: p, prev: w.last[p.Channel]})
	w.last[p.Channel] = n
	grown = len(p.Frame) + keptOverhead
	w.bytes += grown
	return n, grown
}

// grow counts the packed form of publication n, if that is still in the window, and returns by how much the window has grown.
func (w *window) grow(n uint64, packed int) int {
	if n == 0 || n < w.seq || n-w.seq >= uint64(len(w.kept)-w.head) {
		return 0
	}
	w.get(n).packed = packed
	w.bytes += packed
	return packed
}

// evict lets the oldest publication go and returns by how much the window has shrunk.
func (w *window) evict() int {
	k := &w.kept[w.head]
	if w.last[k.Channel] == w.seq {
		delete(w.last, k.Channel)
	}
	w.floor = k.ID
	size := k.size()
	w.bytes -= size
	*k = kept{}
	w.head++
	w.seq++
	if w.head > 64 && w.head > len(w.kept)/2 {
		n := copy(w.kept, w.kept[w.head:])
		clear(w.kept[n:])
		w.kept, w.head = w.kept[:n], 0
	}
	return size
}

func (w *window) empty() bool { return w.head == len(w.kept) }

// expire lets go of what is older than that many unix ms and returns by how much the window has shrunk.
func (w *window) expire(before uint64) (freed int) {
	for !w.empty() && w.kept[w.head].ID.MS < before {
		freed += w.evict()
	}
	if w.empty() && cap(w.kept) > 1024 {
		w.kept, w.head = nil, 0
	}
	return freed
}

// newest is the number of a channel's newest publication in the window, 0 if there is none.
func (w *window) newest(channel string) uint64 { return w.last[channel] }

// get is publication n, nil when that is not in the window.
func (w *window) get(n uint64) *kept {
	if n < w.seq {
		return nil
	}
	return &w.kept[w.head+int(n-w.seq)]
}
