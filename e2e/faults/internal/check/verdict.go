package check

// Violation is one kind of broken promise.
type Violation string

// The violations, in the order in which reports show them.
const (
	Lost            Violation = "lost"                   // acknowledged, and not in the stream
	Twice           Violation = "applied twice"          // one publication, more than one entry in the stream
	Disorder        Violation = "out of order"           // in the stream behind a later one of its publisher
	Missing         Violation = "missing without gap"    // in the stream, not delivered, and no gap
	Unannounced     Violation = "set back without gap"   // the stream lost what was delivered, and no gap said so
	DeliveredTwice  Violation = "delivered twice"        // the same entry twice in one subscription
	DeliveredBehind Violation = "delivered out of order" // not in the order of the stream
	Altered         Violation = "altered"                // the body is not that of the entry at its position
	Invented        Violation = "invented"               // nobody published it
)

// Violations are all kinds, in the order of reports.
func Violations() []Violation {
	return []Violation{Lost, Twice, Disorder, Missing, Unannounced, DeliveredTwice, DeliveredBehind, Altered, Invented}
}

// MaxFindings is how many examples of one violation are kept.
const MaxFindings = 20

// Verdict is what Check found.
type Verdict struct {
	Published    int `json:"published"`
	Acknowledged int `json:"acknowledged"`
	Repeated     int `json:"repeated"`      // publications that were sent more than once
	Entries      int `json:"entries"`       // in the streams, those that are gone not counted
	Gone         int `json:"entries_gone"`  // that a failover or restart took away
	Copies       int `json:"direct_copies"` // second entries of direct publications that their publisher repeated
	Deliveries   int `json:"deliveries"`
	Gaps         int `json:"gaps"`
	Unneeded     int `json:"gaps_unneeded"` // nothing was lost and history reached far enough

	Violations map[Violation]int `json:"violations"`
	Findings   []Finding         `json:"findings,omitempty"`
	UnneededAt []Finding         `json:"unneeded_examples,omitempty"`
}

// Finding is one example, with all that is known.
type Finding struct {
	Violation  Violation `json:"violation"`
	Channel    string    `json:"channel"`
	N          uint32    `json:"n,omitempty"` // of the publication
	ID         string    `json:"entry,omitempty"`
	Subscriber int       `json:"subscriber,omitempty"` // from 1 on; 0: it is about the stream
	Sent       int32     `json:"sent_ms"`
	Acked      int32     `json:"acked_ms"`
	Sends      uint32    `json:"sends"`
	At         int32     `json:"at_ms"` // when it showed; None: at no time of its own
	Text       string    `json:"text"`
	Faults     []string  `json:"faults,omitempty"` // that were on, filled in by who knows
}

// Clean reports whether no promise was broken.
func (v *Verdict) Clean() bool {
	for _, n := range v.Violations {
		if n > 0 {
			return false
		}
	}
	return true
}

// add counts a violation and keeps the first of each kind as examples.
func (v *Verdict) add(f Finding) {
	v.Violations[f.Violation]++
	if v.Violations[f.Violation] <= MaxFindings {
		v.Findings = append(v.Findings, f)
	}
}
