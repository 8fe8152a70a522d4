package board

import (
	"errors"
	"strings"
)

// A position is a text that sorts bytewise between any two others. It has an integer part, so that appending does not
// make it longer, and a fraction, so that there is always room in between:
//
//	position = head digits [fraction]       digits of base 62: 0-9 A-Z a-z, which is their order as bytes
//	head     a … z: an integer from 0 up, of 1 … 26 digits; Z … A: below 0, of 1 … 26 digits
//	fraction digits, of which the last is not 0
//
// The server makes all positions, under the board's lock; so no two rows of a lane have the same, and clients need no
// randomness in theirs.
const posDigits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

const (
	posFirst = "a0"
	posBase  = len(posDigits)
)

var (
	errPos      = errors.New("no valid position")
	errPosOrder = errors.New("positions in the wrong order")
	errPosRoom  = errors.New("no room for a position")
)

// ValidPos reports whether pos is a position of at most 48 bytes.
func ValidPos(pos string) bool {
	return pos != "" && len(pos) <= MaxPos && wellFormed(pos)
}

func wellFormed(pos string) bool {
	n := integerLen(pos[0])
	if n == 0 || len(pos) < n || strings.HasSuffix(pos[n:], "0") || pos == smallestPos {
		return false
	}
	for i := 1; i < len(pos); i++ {
		if strings.IndexByte(posDigits, pos[i]) < 0 {
			return false
		}
	}
	return true
}

var smallestPos = "A" + strings.Repeat("0", 26)

// integerLen is the length of the integer part with that head, the head included; 0 for what is no head.
func integerLen(head byte) int {
	switch {
	case head >= 'a' && head <= 'z':
		return int(head-'a') + 2
	case head >= 'A' && head <= 'Z':
		return int('Z'-head) + 2
	default:
		return 0
	}
}

// Between returns a position after a and before b. "" means that there is none on that side.
func Between(a, b string) (string, error) {
	if a != "" && !wellFormed(a) || b != "" && !wellFormed(b) {
		return "", errPos
	}
	if a != "" && b != "" && a >= b {
		return "", errPosOrder
	}
	switch {
	case a == "" && b == "":
		return posFirst, nil
	case a == "":
		whole, fraction := splitPos(b)
		if whole == smallestPos {
			return whole + midFraction("", fraction), nil
		}
		if fraction != "" {
			return whole, nil
		}
		if less, ok := stepInteger(whole, -1); ok && less != smallestPos {
			return less, nil
		}
		return "", errPosRoom
	case b == "":
		whole, fraction := splitPos(a)
		if more, ok := stepInteger(whole, 1); ok {
			return more, nil
		}
		return whole + midFraction(fraction, ""), nil
	}
	wholeA, fractionA := splitPos(a)
	wholeB, fractionB := splitPos(b)
	if wholeA == wholeB {
		return wholeA + midFraction(fractionA, fractionB), nil
	}
	if more, ok := stepInteger(wholeA, 1); ok && more < b {
		return more, nil
	}
	return wholeA + midFraction(fractionA, ""), nil
}

func splitPos(pos string) (whole, fraction string) {
	n := integerLen(pos[0])
	return pos[:n], pos[n:]
}

// stepInteger adds by, which is 1 or -1; false when there is no such integer.
func stepInteger(whole string, by int) (string, bool) {
	head, digits := whole[0], []byte(whole[1:])
	for i := len(digits) - 1; i >= 0; i-- {
		d := strings.IndexByte(posDigits, digits[i]) + by
		if d >= 0 && d < posBase {
			digits[i] = posDigits[d]
			return string(head) + string(digits), true
		}
		digits[i] = posDigits[(d+posBase)%posBase] // carry
	}
	switch {
	case by > 0 && head == 'Z':
		return posFirst, true
	case by < 0 && head == 'a':
		return "Zz", true
	case by > 0 && head == 'z', by < 0 && head == 'A':
		return "", false
	}
	head = byte(int(head) + by)
	edge := posDigits[:1]
	if by < 0 {
		edge = posDigits[posBase-1:]
	}
	return string(head) + strings.Repeat(edge, integerLen(head)-1), true
}

// midFraction is a fraction between a and b, where "" is 0 as a and 1 as b. It is as short as can be, near the middle.
func midFraction(a, b string) string {
	var out []byte
	for i := 0; ; i++ {
		low, high := 0, posBase
		if i < len(a) {
			low = strings.IndexByte(posDigits, a[i])
		}
		if i < len(b) {
			high = strings.IndexByte(posDigits, b[i])
		}
		switch {
		case low == high: // both go on
			out = append(out, posDigits[low])
		case high-low > 1:
			return string(append(out, posDigits[(low+high+1)/2]))
		case i+1 < len(b):
			return string(append(out, posDigits[high])) // b without what follows
		default:
			out, b = append(out, posDigits[low]), "" // any fraction above the rest of a will do
		}
	}
}
