package target

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// line is one line of Prometheus's text format: name{label="value",…} value. What may follow (a time, an exemplar) is not read.
type line struct {
	name   string
	labels []label
	value  float64
}

type label struct{ name, value string }

func (l line) label(name string) (value string, ok bool) {
	for _, x := range l.labels {
		if x.name == name {
			return x.value, true
		}
	}
	return "", false
}

// Bounds on what a server can make us keep.
const (
	maxLine = 1 << 20
	maxText = 64 << 20
)

// parseText reads the text format, version 0.0.4 and that of OpenMetrics 1.0 as far as they have a name in front, and hands over each line. Errors name the line.
func parseText(r io.Reader, each func(line)) error {
	scanner := bufio.NewScanner(io.LimitReader(r, maxText))
	scanner.Buffer(nil, maxLine)
	for n := 1; scanner.Scan(); n++ {
		text := strings.TrimSpace(scanner.Text())
		if text == "" || text[0] == '#' {
			continue
		}
		l, err := parseLine(text)
		if err != nil {
			return fmt.Errorf("line %d is not of Prometheus's text format: %w", n, err)
		}
		each(l)
	}
	if err := scanner.Err(); err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	return nil
}

func parseLine(text string) (line, error) {
	l, rest, err := parseSeries(text)
	if err != nil {
		return l, err
	}
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return l, errors.New("there is no value")
	}
	if l.value, err = strconv.ParseFloat(fields[0], 64); err != nil {
		return l, fmt.Errorf("%q is not a number", fields[0])
	}
	return l, nil
}

// parseSeries reads a name and its labels, and returns what is behind them.
func parseSeries(text string) (l line, rest string, err error) {
	end := strings.IndexFunc(text, func(r rune) bool { return !isNameRune(r) })
	if end < 0 {
		end = len(text)
	}
	if l.name, rest = text[:end], text[end:]; l.name == "" || l.name[0] >= '0' && l.name[0] <= '9' {
		return l, rest, errors.New("it does not begin with a name")
	}
	if trimmed := strings.TrimLeft(rest, " \t"); strings.HasPrefix(trimmed, "{") {
		l.labels, rest, err = parseLabels(trimmed[1:])
	}
	return l, rest, err
}

func isNameRune(r rune) bool {
	return r == '_' || r == ':' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}

// parseLabels reads behind the opening brace, to behind the closing one.
func parseLabels(text string) (labels []label, rest string, err error) {
	for {
		text = strings.TrimLeft(text, " \t,")
		if strings.HasPrefix(text, "}") {
			return labels, text[1:], nil
		}
		name, behind, ok := strings.Cut(text, "=")
		behind = strings.TrimLeft(behind, " \t")
		if name = strings.TrimSpace(name); !ok || name == "" || strings.ContainsFunc(name, func(r rune) bool { return !isNameRune(r) }) || !strings.HasPrefix(behind, `"`) {
			return nil, text, errors.New(`a label is not name="value"`)
		}
		var value strings.Builder
		i := 1
		for ; i < len(behind) && behind[i] != '"'; i++ {
			c := behind[i]
			if c == '\\' && i+1 < len(behind) {
				i++
				if c = behind[i]; c == 'n' {
					c = '\n'
				}
			}
			value.WriteByte(c)
		}
		if i >= len(behind) {
			return nil, text, errors.New("a label's value has no end")
		}
		labels, text = append(labels, label{name, value.String()}), behind[i+1:]
	}
}
