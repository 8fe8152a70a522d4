package worker

import (
	"strconv"
	"strings"

	"github.com/millracehq/millrace/gateway/stream"
)

// maxKept is the largest answer that is kept for a client which asks again with the same ID, in bytes.
const maxKept = 4 << 10

// seenAlone is the value of a seen key that keeps no answer: of a publication, or of an answer that is too large.
const seenAlone = "1"

// keptAnswer is an answer as a seen key keeps it: "res t" or "res b" or "err CODE", a line feed, the body.
func keptAnswer(a *stream.Answer) string {
	switch {
	case a == nil || len(a.Data) > maxKept:
		return seenAlone
	case a.Kind == stream.KindErr:
		return "err " + strconv.Itoa(a.Code) + "\n" + a.Data
	case a.Binary:
		return "res b\n" + a.Data
	}
	return "res t\n" + a.Data
}

// repeatAnswer answers a request that was done before as it was answered then, as far as that was kept.
func (e *Event) repeatAnswer(kept string) {
	head, data, _ := strings.Cut(kept, "\n")
	kind, arg, ok := strings.Cut(head, " ")
	switch {
	case ok && kind == string(stream.KindRes):
		e.answer(stream.Answer{Kind: stream.KindRes, Binary: arg == stream.EncBinary, Data: data})
	case ok && kind == string(stream.KindErr):
		code, _ := strconv.Atoi(arg) // ReplyError makes 500 of what is none
		e.ReplyError(code, data)
	default:
		e.ReplyError(codeDone, "already done, and the answer is not kept")
	}
}
