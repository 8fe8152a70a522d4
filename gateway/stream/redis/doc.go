// Package redis speaks the backend contract (package stream) to Redis; it is the only importer of go-redis.
//
//	Client      one installation: address, prefix, partition count, checked against the meta hash; on one server, behind
//	            Sentinel, or in a Cluster
//	  Append    pipelined XADD, to each server its own; WAIT for replicas   gateway
//	  Read      one XREAD over streams, in a Cluster of one partition       gateway
//	  Servers   the masters, their run IDs and partitions                   gateway
//	  Survey    in which epoch streams are; XINFO, XGROUP SETID             gateway
//	  Ranges    XRANGE and XREVRANGE, for resume                            gateway
//	  Beat      HSET and HGETALL: the fleet                                 gateway
//	  Group     leases, reads, claims, and effects committed together with XACK: backend
//
// Nothing here retries by itself: an XADD whose answer was lost may have been stored, and only the caller knows what
// sending it again means. In a Cluster go-redis itself repeats what is harmless to repeat; Append is kept out of that.
package redis
