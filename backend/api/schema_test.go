package api

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// schema is the part of JSON Schema that the document uses.
type schema struct {
	Ref                  string `json:"$ref"`
	Type                 string
	Properties           map[string]schema
	Required             []string
	AdditionalProperties *additional
	Items                *schema
	Enum                 []string
	Const                any
	Pattern              string
	MinItems, MaxItems   *int
	MinLength, MaxLength *int
}

// additional is false or a schema.
type additional struct {
	forbidden bool
	schema    schema
}

func (a *additional) UnmarshalJSON(data []byte) error {
	if string(data) == "false" {
		a.forbidden = true
		return nil
	}
	return json.Unmarshal(data, &a.schema)
}

// check says what is wrong with a value, "" if nothing is.
func (s schema) check(d *parsed, v any) string {
	if s.Ref != "" {
		name := strings.TrimPrefix(s.Ref, "#/components/schemas/")
		found, ok := d.Components.Schemas[name]
		if !ok {
			return "no schema " + name
		}
		return found.check(d, v)
	}
	if s.Const != nil && s.Const != v {
		return fmt.Sprintf("%v is not %v", v, s.Const)
	}
	switch s.Type {
	case "object":
		m, ok := v.(map[string]any)
		if !ok {
			return fmt.Sprintf("%v is no object", v)
		}
		return s.checkObject(d, m)
	case "array":
		list, ok := v.([]any)
		if !ok || s.MinItems != nil && len(list) < *s.MinItems || s.MaxItems != nil && len(list) > *s.MaxItems {
			return fmt.Sprintf("%v is no such array", v)
		}
		for _, one := range list {
			if s.Items != nil {
				if fault := s.Items.check(d, one); fault != "" {
					return fault
				}
			}
		}
	case "string":
		text, ok := v.(string)
		if !ok || s.Enum != nil && !slices.Contains(s.Enum, text) || s.Pattern != "" && !regexp.MustCompile(s.Pattern).MatchString(text) ||
			s.MinLength != nil && len(text) < *s.MinLength || s.MaxLength != nil && len([]rune(text)) > *s.MaxLength {
			return fmt.Sprintf("%v is no such text", v)
		}
	case "integer":
		n, ok := v.(json.Number)
		if _, err := n.Int64(); !ok || err != nil {
			return fmt.Sprintf("%v is no integer", v)
		}
	case "boolean":
		if _, ok := v.(bool); !ok {
			return fmt.Sprintf("%v is neither true nor false", v)
		}
	case "": // anything
	default:
		return "an unknown type " + s.Type
	}
	return ""
}

func (s schema) checkObject(d *parsed, m map[string]any) string {
	for _, name := range s.Required {
		if _, ok := m[name]; !ok {
			return name + " is missing"
		}
	}
	for name, one := range m {
		p, ok := s.Properties[name]
		switch {
		case ok:
		case s.AdditionalProperties == nil:
			continue
		case s.AdditionalProperties.forbidden:
			return name + " is not in the schema"
		default:
			p = s.AdditionalProperties.schema
		}
		if fault := p.check(d, one); fault != "" {
			return name + ": " + fault
		}
	}
	return ""
}
