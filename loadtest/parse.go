package loadtest

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/millracehq/millrace/internal/strict"
)

// Parse reads a scenario: YAML, or JSON, which is YAML too. ${NAME} and ${NAME:-default} are replaced from lookup first. Unknown keys
// are errors; all messages name the line. It does not check what the values mean: see [Scenario.Validate].
func Parse(text []byte, lookup func(name string) (value string, ok bool)) (*Scenario, error) {
	text, err := expand(text, lookup)
	if err != nil {
		return nil, err
	}
	s := NewScenario()
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, errors.New("the scenario is empty; `loadtest new` writes one to start from")
	}
	if err := strict.YAML(text, s); err != nil {
		return nil, errors.New(yaml.FormatError(err, false, true))
	}
	return s, nil
}

// expand replaces the environment variables of a text. Comment lines are left alone, and "$${" stands for "${".
func expand(text []byte, lookup func(string) (string, bool)) ([]byte, error) {
	variable := regexp.MustCompile(`\$?\$\{([^}]*)\}`)
	name := regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	var faults []error
	lines := strings.Split(string(text), "\n")
	for i, line := range lines {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		lines[i] = variable.ReplaceAllStringFunc(line, func(found string) string {
			if strings.HasPrefix(found, "$$") {
				return found[1:]
			}
			key, otherwise, optional := strings.Cut(found[2:len(found)-1], ":-")
			switch value, ok := lookup(key); {
			case !name.MatchString(key):
				faults = append(faults, fmt.Errorf("line %d: %s: %q is not the name of a variable", i+1, found, key))
			case ok && strings.Contains(value, "\n"):
				faults = append(faults, fmt.Errorf("line %d: %s: its value has more than one line", i+1, found))
			case ok && (value != "" || !optional):
				return value
			case optional:
				return otherwise
			default:
				faults = append(faults, fmt.Errorf("line %d: %s is not set; set it with -e %s=VALUE, or write ${%s:-DEFAULT}", i+1, found, key, key))
			}
			return found
		})
	}
	return []byte(strings.Join(lines, "\n")), errors.Join(faults...)
}
