// Package wsio is WebSocket (RFC 6455) over memory: it reads frames and handshakes from bytes that are already there
// and writes them to bytes that somebody else sends.
//
//	head (all of it) ─▶ Upgrader.Upgrade ─▶ response bytes        server
//	AppendRequest ─▶ … ─▶ ParseResponse                           client
//	bytes ─▶ ParseHeader ─▶ Header.Check ─▶ ws.Cipher ─▶ payload  both
//	fragments ─▶ Fragments.Add ─▶ one message
//
// gobwas/ws gives the handshake, the masking and the protocol's constants. What it leaves to its users is done here:
// reserved bits, minimal lengths, limits refused at the header, UTF-8, valid close codes, strict request heads.
// Nothing here blocks, starts a goroutine or keeps state beyond what it is handed; reading a frame does not allocate.
package wsio
