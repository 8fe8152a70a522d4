// Package api is the HTTP side of task boards, for what is not realtime: workspaces, members, boards, whole boards to begin with, histories, conflicts,
// search, import and export. What it takes and answers is openapi.json, which it serves; how to use it is docs/API.md.
//
//	client ──Authorization: Bearer JWT──▶ API ──▶ store, as the user of the token
//	                                       └────▶ Revoke, when somebody loses a role: their subscriptions end
//
// It keeps nothing between two requests. Who may see and do what is the store's to say; what a user has no right to see is answered 404, like
// what does not exist. Errors are problem details (RFC 9457) with a hint that says what to do. A request has a bound in bytes, in time and
// in number beside others, and an ID by which it is found in the log.
//
// Sign-in is somebody else's: any issuer whose key is configured. [Demo] is one for trying things, which believes every name.
package api
