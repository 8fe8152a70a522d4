package board

import (
	"encoding/json"
	"testing"
)

// BenchmarkRowJSON writes and reads a card as boards have them.
func BenchmarkRowJSON(b *testing.B) {
	text := []byte(`{"kind":"card","id":"card-17","seq":12,"regs":{"body":["Some words about it. Some words about it.",0,"maker",12],"life":["live",0,"maker",12],` +
		`"place":[["column-17","a0G"],0,"maker",12],"prio":[2,0,"maker",12],"title":["What is to be done, number 17",0,"maker",12]}}`)
	row := new(Row)
	b.Run("read", func(b *testing.B) {
		for b.Loop() {
			row = new(Row)
			if err := json.Unmarshal(text, row); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("write", func(b *testing.B) {
		for b.Loop() {
			if out, err := json.Marshal(row); err != nil || string(out) != string(text) {
				b.Fatalf("%s %v", out, err)
			}
		}
	})
}
