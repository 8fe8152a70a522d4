package board

import (
	"slices"
	"strings"
)

// maxCells bounds the work of one comparison of two texts. Beyond it everything between their common beginning and end
// counts as changed.
const maxCells = 1 << 20

// mergeText merges two texts that were made of one base, line by line. Where both changed the same lines in different
// ways, those of ours stand; clean says that there was no such place.
func mergeText(base, ours, theirs string) (merged string, clean bool) {
	b, o, t := lines(base), lines(ours), lines(theirs)
	inOurs, inTheirs := matches(b, o), matches(b, t)
	var out []string
	clean = true
	bi, oi, ti := 0, 0, 0
	for {
		// The next line of base that both have: before it is a chunk in which something may differ.
		next := bi
		for next < len(b) && (inOurs[next] < 0 || inTheirs[next] < 0) {
			next++
		}
		oEnd, tEnd := len(o), len(t)
		if next < len(b) {
			oEnd, tEnd = inOurs[next], inTheirs[next]
		}
		chunk, ok := mergeChunk(b[bi:next], o[oi:oEnd], t[ti:tEnd])
		out = append(out, chunk...)
		clean = clean && ok
		if next == len(b) {
			return strings.Join(out, ""), clean
		}
		out = append(out, b[next])
		bi, oi, ti = next+1, oEnd+1, tEnd+1
	}
}

func mergeChunk(base, ours, theirs []string) (chunk []string, clean bool) {
	switch {
	case slices.Equal(ours, theirs), slices.Equal(theirs, base):
		return ours, true
	case slices.Equal(ours, base):
		return theirs, true
	default:
		return ours, false
	}
}

// lines splits after each line feed.
func lines(s string) []string {
	if s == "" {
		return nil
	}
	all := strings.SplitAfter(s, "\n")
	if all[len(all)-1] == "" {
		all = all[:len(all)-1]
	}
	return all
}

// matches says for each line of a which line of b it is, or -1: a longest common subsequence.
func matches(a, b []string) []int {
	out := make([]int, len(a))
	for i := range out {
		out[i] = -1
	}
	from := 0
	for from < len(a) && from < len(b) && a[from] == b[from] {
		out[from] = from
		from++
	}
	aEnd, bEnd := len(a), len(b)
	for aEnd > from && bEnd > from && a[aEnd-1] == b[bEnd-1] {
		aEnd--
		bEnd--
		out[aEnd] = bEnd
	}
	matchMiddle(out[from:aEnd], a[from:aEnd], b[from:bEnd], from)
	return out
}

// matchMiddle fills out for a part of the lines, those of b being counted from shift.
func matchMiddle(out []int, a, b []string, shift int) {
	if len(a) == 0 || len(b) == 0 || (len(a)+1)*(len(b)+1) > maxCells {
		return
	}
	width := len(b) + 1
	longest := make([]int32, (len(a)+1)*width) // [i][j]: of a[i:] and b[j:]
	for i := range slices.Backward(a) {
		for j := range slices.Backward(b) {
			if a[i] == b[j] {
				longest[i*width+j] = longest[(i+1)*width+j+1] + 1
			} else {
				longest[i*width+j] = max(longest[(i+1)*width+j], longest[i*width+j+1])
			}
		}
	}
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch {
		case a[i] == b[j]:
			out[i] = j + shift
			i++
			j++
		case longest[(i+1)*width+j] >= longest[i*width+j+1]:
			i++
		default:
			j++
		}
	}
}
