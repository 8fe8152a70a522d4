package wsio

import (
	"bytes"
	"errors"
	"net/http"
	"strconv"
)

// Response is the HTTP response for a handshake that failed: a *Refusal's own status, else 400. The connection closes
// behind it.
func Response(err error) []byte {
	status, header := http.StatusBadRequest, http.Header(nil)
	if r, ok := errors.AsType[*Refusal](err); ok {
		status, header = r.Status, r.Header
	}
	connection := "close"
	if header["Upgrade"] != nil { // RFC 9110 section 7.8: who sends Upgrade names it in Connection
		connection = "upgrade, close"
	}
	body := err.Error() + "\n"
	var b bytes.Buffer
	b.WriteString("HTTP/1.1 " + strconv.Itoa(status) + " " + http.StatusText(status) + "\r\n")
	b.WriteString("Connection: " + connection + "\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n")
	_ = header.Write(&b)
	b.WriteString("\r\n" + body)
	return b.Bytes()
}
