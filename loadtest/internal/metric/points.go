package metric

// Point is one number of a snapshot, as outputs that keep plain numbers write it. A point is a second's worth, not one value: a counter's
// growth, a gauge's last reading, a rate's share, and of a trend one for each of its statistics, in milliseconds.
type Point struct {
	Name  string // of the metric
	Tag   string // what tells the point from others of the metric: stat of trends, part of tagged counters; empty: nothing
	Part  string // its value
	Tags  map[string]string
	Value float64
}

// trendPoints are the statistics of trends that points have.
var trendPoints = [...]struct {
	name    string
	percent float64
}{{"med", 50}, {"p(95)", 95}, {"p(99)", 99}, {"max", 100}}

// Points hands over all numbers of a snapshot.
func (s Snapshot) Points(each func(Point)) {
	for _, sample := range s.Samples {
		name, tags := SplitName(sample.Name)
		point := func(value float64, tag, part string) {
			each(Point{Name: name, Tag: tag, Part: part, Tags: tags, Value: value})
		}
		switch {
		case sample.N == 0:
		case sample.Kind == KindCounter && sample.Parts != nil:
			for part, n := range sample.Parts {
				point(float64(n), "part", part)
			}
		case sample.Kind == KindCounter:
			point(float64(sample.N), "", "")
		case sample.Kind == KindGauge:
			point(sample.Value, "", "")
		case sample.Kind == KindRate:
			point(float64(sample.Passes)/float64(sample.N), "", "")
		case sample.Hist != nil:
			point(sample.Hist.Mean()/1000, "stat", "avg")
			for _, t := range trendPoints {
				point(float64(sample.Hist.ValueAtPercentile(t.percent))/1000, "stat", t.name)
			}
		}
	}
}
