// Package stream is the contract between the gateway and a backend: Redis streams, version 1 (docs/STREAMS.md).
//
//	clients ──▶ gateway ──XADD──▶ millrace:{P}:in  ──XREADGROUP──▶ backend
//	clients ◀── gateway ◀─XREAD── millrace:{P}:out ◀────XADD────── backend
//	            gateway ◀─XREAD── millrace:node:{NODE} ◀──XADD──── backend
//
// It holds names, partitions, positions and the three kinds of entry, as plain values: it neither speaks to
// Redis (package stream/redis does) nor knows a connection. Every decoder takes what a stranger may have
// written and answers with an error, never with a panic.
package stream

// Version is the version of the contract, field "version" of the meta hash.
const Version = 1

// Defaults of the contract's settings.
const (
	DefaultPrefix     = "millrace"
	DefaultPartitions = 64
	DefaultGroup      = "backend"
	MaxPartitions     = 16384 // Redis Cluster has no more slots
)
