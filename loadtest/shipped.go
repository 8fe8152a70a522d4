package loadtest

import (
	"embed"
	"maps"
	"path"
	"slices"
	"strings"
)

//go:embed scenarios/*.yaml
var shipped embed.FS

// otherNames are more names of some scenarios: those by which they are looked for.
var otherNames = map[string]string{"15k-proof": "proof-backend", "idle-hold": "idle", "reconnect-storm": "storm", "slow-consumers": "slow"}

// Shipped are the names of the scenarios that come with the program.
func Shipped() (names []string) {
	entries, err := shipped.ReadDir("scenarios")
	if err != nil {
		panic("BUG: the embedded scenarios: " + err.Error())
	}
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".yaml"))
	}
	names = slices.AppendSeq(names, maps.Keys(otherNames))
	slices.Sort(names)
	return names
}

// ShippedScenario is the text of one of them, for [Parse].
func ShippedScenario(name string) (text []byte, ok bool) {
	if file, ok := otherNames[name]; ok {
		name = file
	}
	text, err := shipped.ReadFile(path.Join("scenarios", name+".yaml"))
	return text, err == nil
}
