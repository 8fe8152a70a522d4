package board

import (
	"maps"
	"slices"
	"strconv"
)

// Hash is what the row adds to the hash of its board, which is the sum over all rows modulo 2^64. It is the same for the
// same registers, whatever the order in which they came. [Row.Seq] and [Register.Seq] are not part of it.
//
// The row is written as KIND, ID, and for each group, in the order of their bytes, its name, the client of its stamp, the
// time of its stamp, and its value: texts as "sBYTES:…", integers as "iDECIMAL;" (see docs/BOARDS.md). Of these bytes FNV-1a
// (64 bits) is taken, and mixed, since sums of FNV-1a alone are equal too often: when two rows swap two values.
func (r *Row) Hash() uint64 {
	return mix(fnv1a(r.appendCanonical(nil)))
}

func (r *Row) appendCanonical(b []byte) []byte {
	b = appendText(appendText(b, r.Kind), r.ID)
	for _, name := range slices.Sorted(maps.Keys(r.Regs)) {
		reg := r.Regs[name]
		b = appendText(appendText(b, name), reg.Stamp.Client)
		b = append(strconv.AppendInt(append(b, 'i'), reg.Stamp.TS, 10), ';')
		b = reg.Value.appendCanonical(b)
	}
	return b
}

func fnv1a(data []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range data {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}

// mix is the last step of MurmurHash3 for 64 bits.
func mix(h uint64) uint64 {
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// FormatHash is a hash as it goes over the wire: 16 hexadecimal digits, since clients cannot hold 64 bits in a number.
func FormatHash(h uint64) string {
	s := strconv.FormatUint(h, 16)
	return "0000000000000000"[len(s):] + s
}

// ParseHash is the inverse of [FormatHash].
func ParseHash(s string) (uint64, error) { return strconv.ParseUint(s, 16, 64) }
