// Command conformance runs several hundred cases written from RFC 6455, RFC 7692, RFC 9112 and RFC 3629 against the real
// gateway over TCP.
//
//	bin/gateway ◀── TCP ── wire: frames and handshakes of its own, nothing of internal/wsio, so that a shared mistake shows
//
// Every case is strict: the frames that must come, and no other; where a Close is due, that code, once, and behind it the
// orderly end of the TCP connection, never a reset; where none is due, a connection that still answers.
// It owns two gateways and their Redis, which is in this process, and leaves nothing behind. make conformance runs it.
package main
