package relay

import (
	"context"
	"slices"
	"time"

	"github.com/millracehq/millrace/gateway/internal/hub"
	"github.com/millracehq/millrace/gateway/stream"
)

// One round trip brings so many entries of each of so many partitions that come into use: it is all in memory at once.
const (
	fillCount = 128
	fillParts = 8
)

// survey finds out whether the streams in use are still the same, and tells the loops of those that are not.
func (l *lane) survey(ctx context.Context) error {
	var witnesses []stream.Witness
	for i, p := range l.inUse {
		if p >= 0 {
			w := l.witness(p)
			w.Last = l.cursors[i].ID
			if stored := l.r.parts[p].stored.Load(); stored != nil && w.Last.Before(*stored) {
				w.Last = *stored
			}
			witnesses = append(witnesses, w)
		}
	}
	if len(witnesses) == 0 {
		return nil
	}
	standings, err := l.r.streams.Survey(ctx, witnesses)
	if err != nil {
		return err
	}
	var lost []int
	for i, s := range standings {
		part := &l.r.parts[witnesses[i].Partition]
		if part.run = s.Run; s.Epoch != part.epoch {
			lost = append(lost, witnesses[i].Partition)
		}
	}
	return l.lose(ctx, lost, "streams were lost or went back in time")
}

// checkTrimmed finds streams that have been trimmed past the cursor before they were read: there may have been entries
// that nobody will ever read. That takes MaxLen entries in one stream, so more than one read can bring, or History.
func (l *lane) checkTrimmed(ctx context.Context, streams []stream.Entries) error {
	now := time.Now()
	late := now.Sub(l.came)
	if l.came.IsZero() {
		late = 0
	}
	wasBehind := l.behind || late > 2*readBlock
	l.came, l.behind = now, false
	var ranges []stream.Range
	for _, s := range streams {
		full := len(s.Entries) >= l.count
		l.behind = l.behind || full
		i := l.byKey[s.Key]
		if at := l.cursors[i].ID; l.inUse[i] >= 0 && at != (stream.ID{}) && (full && wasBehind || late > l.r.cfg.History/2) {
			ranges = append(ranges, stream.Range{Key: s.Key, From: at, To: at, Count: 1})
		}
	}
	found, err := l.r.streams.Ranges(ctx, ranges)
	if err != nil {
		return err
	}
	var lost []int
	for k := range ranges {
		if len(found[k]) == 0 {
			lost = append(lost, l.inUse[l.byKey[ranges[k].Key]])
		}
	}
	return l.lose(ctx, lost, "streams were trimmed before they were read")
}

// lose opens partitions anew and tells their loops that entries are lost.
func (l *lane) lose(ctx context.Context, lost []int, why string) error {
	if len(lost) == 0 {
		return nil
	}
	for _, p := range lost {
		l.r.parts[p].epoch = 0
		l.r.parts[p].stored.Store(nil)
	}
	openings, err := l.fill(ctx, lost)
	if err != nil {
		return err
	}
	l.r.counts.lost.Add(uint64(len(lost)))
	l.r.cfg.Logger.Warn(why+": their subscribers are told of a gap", "partitions", lost)
	for _, o := range openings {
		l.cursors[l.byKey[l.r.parts[o.Partition].key]].ID = o.At.ID
		for i := range l.r.loops {
			if l.r.parts[o.Partition].loops&(1<<i) != 0 {
				l.r.loops[i].Post(func() { l.r.loops[i].Lost(o) })
			}
		}
	}
	return nil
}

func (l *lane) witness(p int) stream.Witness {
	return stream.Witness{Partition: p, Epoch: l.r.parts[p].epoch, Run: l.r.parts[p].run}
}

// open begins to read what loops want, and returns how it stands.
func (l *lane) open(ctx context.Context, wants []want) (map[int]*hub.Opening, error) {
	var partitions []int
	for _, w := range wants {
		if !slices.Contains(partitions, w.partition) {
			partitions = append(partitions, w.partition)
		}
		if _, reading := l.byKey[l.r.parts[w.partition].key]; !reading {
			l.r.parts[w.partition].epoch = 0
		}
	}
	openings, err := l.fill(ctx, partitions)
	if err != nil {
		return nil, err
	}
	for _, w := range wants {
		part := &l.r.parts[w.partition]
		if _, reading := l.byKey[part.key]; !reading {
			l.follow(w.partition, part.key, openings[w.partition].At.ID)
			part.laned.Store(true) // from now on: the watcher looks there once more, behind At
		}
		part.loops |= 1 << w.loop
		part.unused.And(^(uint64(1) << w.loop))
	}
	return openings, nil
}

func (l *lane) answerWants(wants []want, openings map[int]*hub.Opening, err error) {
	for _, w := range wants {
		o := openings[w.partition]
		if o == nil {
			o = &hub.Opening{Partition: w.partition}
		}
		to := &l.r.loops[w.loop]
		to.Post(func() { to.Live(o, err) })
	}
}

// filling is a partition of which the past is being read, the newest first.
type filling struct {
	partition int
	at        stream.ID // up to here
	whole     bool      // nothing has ever been taken from the stream
	entries   []stream.Entry
	bytes     int
	done      bool
	floor     stream.ID
}

// fill reads as much of the past of partitions as a resume window holds. What is being read already is filled up to its
// cursor; the others up to their end.
func (l *lane) fill(ctx context.Context, partitions []int) (map[int]*hub.Opening, error) {
	witnesses := make([]stream.Witness, len(partitions))
	for i, p := range partitions {
		witnesses[i] = stream.Witness{Partition: p} // even of what is read, so that Whole is said
	}
	standings, err := l.r.streams.Survey(ctx, witnesses)
	if err != nil {
		return nil, err
	}
	fillings := make([]filling, len(partitions))
	for i, p := range partitions {
		f := &fillings[i]
		*f = filling{partition: p, at: standings[i].Last, whole: standings[i].Whole}
		part := &l.r.parts[p]
		if at, reading := l.byKey[part.key]; reading && part.epoch != 0 {
			f.at = l.cursors[at].ID // if its epoch has ended meanwhile, the next survey says so
		} else {
			part.epoch, part.run = standings[i].Epoch, standings[i].Run
		}
		f.floor, f.done = f.at, f.at == stream.ID{}
	}
	for l.fillMore(ctx, fillings, &err) {
	}
	if err != nil {
		return nil, err
	}
	openings := make(map[int]*hub.Opening, len(fillings))
	for i := range fillings {
		openings[fillings[i].partition] = l.r.opening(&fillings[i])
	}
	return openings, nil
}

// fillMore is one round trip for some that are not done, and reports whether there may be any left.
func (l *lane) fillMore(ctx context.Context, fillings []filling, failure *error) (more bool) {
	var ranges []stream.Range
	var of []*filling
	for i := range fillings {
		f := &fillings[i]
		if f.done || len(of) == fillParts {
			continue
		}
		r := stream.Range{Key: l.r.parts[f.partition].key, To: f.at, Newest: true, Count: fillCount}
		if n := len(f.entries); n > 0 {
			r.To, r.Open = f.entries[n-1].ID, true
		}
		ranges, of = append(ranges, r), append(of, f)
	}
	if len(ranges) == 0 {
		return false
	}
	found, err := l.r.streams.Ranges(ctx, ranges)
	if err != nil {
		*failure = err
		return false
	}
	oldest := uint64(max(0, time.Now().Add(-l.r.cfg.History).UnixMilli()))
	for i, f := range of {
		for _, e := range found[i] {
			f.entries = append(f.entries, e)
			f.floor = e.ID
			for _, field := range e.Fields {
				f.bytes += len(field)
			}
		}
		switch {
		case len(found[i]) < fillCount:
			f.done = true
			if f.whole {
				f.floor = stream.ID{}
			}
		case f.bytes > l.r.cfg.WindowBytes/l.r.cfg.Partitions, f.floor.MS < oldest:
			f.done = true
		}
	}
	return true
}

func (r *Relay) opening(f *filling) *hub.Opening {
	o := &hub.Opening{Partition: f.partition, At: stream.Position{ID: f.at, Epoch: r.parts[f.partition].epoch}, Floor: f.floor}
	slices.Reverse(f.entries)
	o.Recent = r.publications(f.partition, o.At.Epoch, f.entries)
	return o
}
