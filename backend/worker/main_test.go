package worker

import (
	"flag"
	"os"
	"testing"
)

// TestMain runs more tests at a time than there are cores, since they wait more than they compute.
func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		_ = f.Value.Set("8")
	}
	os.Exit(m.Run())
}
