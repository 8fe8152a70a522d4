// Package strict decodes YAML so that a file with a mistake is an error, whatever the mistake.
package strict

import (
	"fmt"

	"github.com/goccy/go-yaml"
)

// YAML decodes text; a key that into does not have is an error. The library panics at some texts, such as a tag of its own before a
// list (`!x y`): that is an error here too, so that a file that is read again costs no running program its life.
func YAML(text []byte, into any) (err error) {
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("this is no YAML that can be read, look for tags (!…) that do not belong there: %v", fault)
		}
	}()
	return yaml.UnmarshalWithOptions(text, into, yaml.Strict())
}
