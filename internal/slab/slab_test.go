package slab

import "testing"

func TestAtKeepsRecordsInPlace(t *testing.T) {
	var s Slab[int]
	first := s.At(3)
	*first = 7
	*s.At(5000) = 9
	if *s.At(3) != 7 || s.At(3) != first {
		t.Fatalf("record 3 moved or changed: %d", *s.At(3))
	}
	if *s.At(5000) != 9 || *s.At(4999) != 0 {
		t.Fatal("a record was lost, or a new one is not zero")
	}
}

func TestGetMakesNoRoom(t *testing.T) {
	var s Slab[int]
	*s.At(700) = 7
	if s.Get(700) != s.At(700) || s.Get(701) == nil {
		t.Fatal("a record that there is room for is not found")
	}
	n := s.Len()
	for _, i := range []int32{3, n, 1 << 24, 1<<31 - 1, -1, -1 << 31} {
		if r := s.Get(i); r != nil {
			t.Errorf("record %d is there: %d", i, *r)
		}
	}
	if s.Len() != n {
		t.Fatalf("room for %d records, %d before", s.Len(), n)
	}
}

func TestAtDoesNotAllocateTwice(t *testing.T) {
	var s Slab[int]
	s.At(100)
	if n := testing.AllocsPerRun(100, func() { *s.At(100)++ }); n != 0 {
		t.Fatalf("%v allocations for a record that exists", n)
	}
}
