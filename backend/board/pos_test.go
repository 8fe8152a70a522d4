package board

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestBetween(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ a, b, want string }{
		{"", "", "a0"},
		{"a0", "", "a1"},
		{"az", "", "b00"},
		{"", "a0", "Zz"},
		{"", "Z0", "Yzz"},
		{"a0", "a1", "a0V"},
		{"a0", "a0V", "a0G"},
		{"a0V", "a1", "a0l"},
		{"", "a0V", "a0"},
		{"a0", "a2", "a1"},
		{"zz", "", "errors"},
	} {
		got, err := Between(c.a, c.b)
		if c.want == "errors" {
			if err == nil {
				t.Errorf("Between(%q, %q) = %q, want an error: an integer part is cut", c.a, c.b, got)
			}
			continue
		}
		if err != nil || got != c.want {
			t.Errorf("Between(%q, %q) = %q, %v, want %q", c.a, c.b, got, err, c.want)
		}
	}
	if _, err := Between("a1", "a1"); err == nil {
		t.Error("no error for a position between itself")
	}
}

// TestBetweenProperty inserts at random places, and 10,000 times at the worst one, and checks order, validity and length.
func TestBetweenProperty(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	lane := []string{}
	for range 5000 {
		i := r.IntN(len(lane) + 1)
		a, b := "", ""
		if i > 0 {
			a = lane[i-1]
		}
		if i < len(lane) {
			b = lane[i]
		}
		pos, err := Between(a, b)
		if err != nil || !ValidPos(pos) || a != "" && pos <= a || b != "" && pos >= b {
			t.Fatalf("Between(%q, %q) = %q, %v", a, b, pos, err)
		}
		lane = slices.Insert(lane, i, pos)
	}
	longest := 0
	for _, pos := range lane {
		longest = max(longest, len(pos))
	}
	if longest > 12 {
		t.Errorf("a position of %d bytes after 5,000 random insertions", longest)
	}
	last := ""
	for range 10_000 {
		var err error
		if last, err = Between(last, ""); err != nil || len(last) > 4 {
			t.Fatalf("appending made %q, %v", last, err)
		}
	}
	low, high, n := "a0", "a1", 0
	for ; len(high) <= MaxPos; n++ {
		high, _ = Between(low, high)
	}
	if n < 230 {
		t.Errorf("the same gap takes %d insertions until positions are over %d bytes", n, MaxPos)
	}
}

func FuzzValidPos(f *testing.F) {
	f.Add("a0", "a1")
	f.Add("Zz", "zzzzzzzzzzzzzzzzzzzzzzzzzzz")
	f.Fuzz(func(t *testing.T, a, b string) {
		if !ValidPos(a) || !ValidPos(b) || a >= b {
			return
		}
		pos, err := Between(a, b)
		if err != nil || pos <= a || pos >= b {
			t.Errorf("Between(%q, %q) = %q, %v", a, b, pos, err)
		}
	})
}
