package metric

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// selector is what a threshold is about: a metric, or the part of it that has certain tags, as NAME{TAG:VALUE,…}. The tag window is none of
// the metric: the threshold must hold in each window of that length.
type selector struct {
	name   string
	tags   []tag
	window time.Duration
}

type tag struct{ name, value string }

// windowMin is the shortest window: metrics are looked at each second.
const windowMin = time.Second

func parseSelector(text string) (selector, error) {
	name, list, tagged := strings.Cut(text, "{")
	s := selector{name: strings.TrimSpace(name)}
	if !tagged {
		return s, nil
	}
	list, closed := strings.CutSuffix(strings.TrimSpace(list), "}")
	if !closed {
		return s, fmt.Errorf("%s: want %s{TAG:VALUE}", text, s.name)
	}
	for item := range strings.SplitSeq(list, ",") {
		k, v, colon := strings.Cut(item, ":")
		t := tag{strings.TrimSpace(k), strings.TrimSpace(v)}
		if !colon || t.name == "" || t.value == "" {
			return s, fmt.Errorf("%s: want %s{TAG:VALUE}", text, s.name)
		}
		if t.name != "window" {
			s.tags = append(s.tags, t)
			continue
		}
		d, err := time.ParseDuration(t.value)
		if err != nil || d < windowMin {
			return s, fmt.Errorf("%s: %q is no window: want a duration of at least %s, such as 10s", text, t.value, windowMin)
		}
		s.window = d
	}
	return s, nil
}

// entry is the name of the part among the entries of a set: without the window.
func (s selector) entry() string {
	if len(s.tags) == 0 {
		return s.name
	}
	var list []string
	for _, t := range s.tags {
		list = append(list, t.name+":"+t.value)
	}
	return s.name + "{" + strings.Join(list, ",") + "}"
}

// SplitName parts the name of an entry into that of its metric and its tags, as tag, value, …; none for a whole metric.
func SplitName(entry string) (name string, tags map[string]string) {
	s, err := parseSelector(entry)
	if err != nil || len(s.tags) == 0 {
		return entry, nil
	}
	tags = make(map[string]string, len(s.tags))
	for _, t := range s.tags {
		tags[t.name] = t.value
	}
	return s.name, tags
}

// Tags are what parts of trends can be named by: the phase, the scenario, and the scenario's own tags.
type Tags struct {
	Scenarios []ScenarioTags // bit i of a [Label] is the i-th
	Phases    []string       // the i-th is i+1 in a Label
}

// TagScenario is the tag that every scenario has: its name.
const TagScenario = "scenario"

// ScenarioTags are the name of a scenario and its tags.
type ScenarioTags struct {
	Name string
	Tags map[string]string
}

// MaxScenarios is how many scenarios labels can tell apart.
const MaxScenarios = 64

// IsName says whether a scenario can have this name, or a tag.
func IsName(s string) bool { return regexp.MustCompile(`^[0-9a-zA-Z_-]+$`).MatchString(s) }

// label is the part that a selector names.
func (t *Tags) label(s selector) (Label, error) {
	if t == nil {
		return Label{}, fmt.Errorf("metric %s has no tags, so there is no %s", s.name, s.entry())
	}
	var of Label
	for _, want := range s.tags {
		if want.name == "phase" {
			for i, phase := range t.Phases {
				if phase == want.value {
					of.Phase = uint8(i + 1)
				}
			}
			if of.Phase == 0 {
				return Label{}, fmt.Errorf("%s: there is no phase %s with load; there are %s", s.entry(), want.value, strings.Join(t.Phases, " and "))
			}
			continue
		}
		var some uint64
		for i, scenario := range t.Scenarios {
			if want.name == TagScenario && scenario.Name == want.value || want.name != TagScenario && scenario.Tags[want.name] == want.value {
				some |= 1 << i
			}
		}
		if of.Scenarios != 0 {
			some &= of.Scenarios
		}
		if some == 0 {
			return Label{}, fmt.Errorf("%s: no scenario has the tag %s:%s; there are scenario:NAME, phase:NAME and the tags of scenarios", s.entry(), want.name, want.value)
		}
		of.Scenarios = some
	}
	return of, nil
}
