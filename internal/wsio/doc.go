// Package wsio is WebSocket (RFC 6455) over memory: it reads frames and handshakes from bytes that are already there
// and writes them to bytes that somebody else sends.
//
//	head (all of it) ─▶ Upgrader.Upgrade ─▶ response bytes        server
//	AppendRequest ─▶ … ─▶ ParseResponse                           client
//	bytes ─▶ ParseHeader ─▶ Header.Check ─▶ Payload.Take          both
//	frames ─▶ Fragments.Add ─▶ one message ─▶ Inflater.Append     where it is compressed
//
// gobwas/ws gives the masking and the protocol's constants. What it is lax about is done here: the handshake, reserved
// bits, minimal lengths, limits refused at the header, UTF-8 as it comes, valid close codes, permessage-deflate (RFC 7692).
// Nothing here blocks, starts a goroutine or keeps state beyond what it is handed; reading a frame does not allocate.
package wsio
