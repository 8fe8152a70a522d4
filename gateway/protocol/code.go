package protocol

// Code is the number in an err, bye or revoke, and the WebSocket close code.
type Code int

// Codes of err.
const (
	CodeMalformed    Code = 400 // the head breaks the grammar, or the verb is unknown
	CodeUnauthorized Code = 401
	CodeForbidden    Code = 403
	CodeNotFound     Code = 404 // not subscribed
	CodeTimeout      Code = 408 // the backend did not answer
	CodeConflict     Code = 409 // already subscribed, or the REF is in use
	CodeTooLarge     Code = 413
	CodeTooFast      Code = 429 // the text is retry_ms=N
	CodeFailed       Code = 500 // the backend failed
	CodeUnavailable  Code = 503 // not accepted now; send it again
)

// Close codes. 40xx: come back; 41xx: do not.
const (
	CloseGoingAway    Code = 1001
	CloseFailed       Code = 1011 // the gateway could not do its part
	CloseDrain        Code = 4000
	CloseSlowConsumer Code = 4001
	CloseHeartbeat    Code = 4002
	CloseStreamLost   Code = 4003
	CloseRefused      Code = 4100 // credential refused
	CloseExpired      Code = 4101 // credential expired
	CloseDisconnected Code = 4102 // by the backend
	CloseViolation    Code = 4103 // protocol violated
	CloseOverLimit    Code = 4104
)

// Final reports whether a client that was closed with c must not come back by itself.
func (c Code) Final() bool { return c >= 4100 && c < 4200 }
