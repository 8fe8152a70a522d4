// Package redis speaks the backend contract (package stream) to Redis; it is the only importer of go-redis.
//
//	Client      one installation: address, prefix, partition count, checked against the meta hash
//	  Append    pipelined XADD           gateway
//	  Read      one XREAD over streams   gateway
//	  Group     leases, reads, claims, and effects committed together with XACK: backend
//
// Nothing here retries by itself: an XADD whose answer was lost may have been stored, and only the caller knows what
// sending it again means.
package redis
