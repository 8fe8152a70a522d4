package stream

import "strconv"

// Keys names the Redis keys of one installation; the zero value uses [DefaultPrefix]. The braces are Redis Cluster
// hash tags: all keys of a partition live on one node of Redis.
type Keys struct{ Prefix string }

func (k Keys) prefix() string {
	if k.Prefix == "" {
		return DefaultPrefix
	}
	return k.Prefix
}

// Meta is the hash that fixes version and partition count.
func (k Keys) Meta() string { return k.prefix() + ":meta" }

// Trim is held by the node that trims the `in` streams.
func (k Keys) Trim() string { return k.prefix() + ":trim" }

// TrimOut is held by the node that trims the `out` streams.
func (k Keys) TrimOut() string { return k.prefix() + ":trim-out" }

// Canary is a stream by which a node proves that the server of partition p takes and gives.
func (k Keys) Canary(p int, node string) string { return k.partition(p) + ":canary:" + node }

// Gateways is the hash of the gateways that live, by node; see [Gateway].
func (k Keys) Gateways() string { return k.prefix() + ":gateways" }

// In is the stream of partition p from gateway to backend.
func (k Keys) In(p int) string { return k.partition(p) + ":in" }

// Out is the stream of partition p from backend to everyone on its channels.
func (k Keys) Out(p int) string { return k.partition(p) + ":out" }

// Seen marks the publication id of user as processed in partition p.
func (k Keys) Seen(p int, user, id string) string {
	return k.partition(p) + ":seen:" + strconv.Itoa(len(user)) + ":" + user + ":" + id
}

// Lease is held by the one worker of a group that reads partition p.
func (k Keys) Lease(p int, group string) string { return k.partition(p) + ":lease:" + group }

// Owners are the workers of a group that have held the lease of partition p, by the token that they had it with.
func (k Keys) Owners(p int, group string) string { return k.partition(p) + ":owners:" + group }

// Gate names the stream that reads of partition p by its owner go through: its key begins with this one.
func (k Keys) Gate(p int, group string) string { return k.partition(p) + ":gate:" + group }

// Dead is the stream of the entries of partition p that a group has given up.
func (k Keys) Dead(p int, group string) string { return k.partition(p) + ":dead:" + group }

// Done marks the n-th effect of an entry of partition from as written to partition p.
func (k Keys) Done(p, from int, entry ID, n int) string {
	return k.partition(p) + ":done:" + strconv.Itoa(from) + ":" + entry.String() + ":" + strconv.Itoa(n)
}

// Workers are the live workers of a group, by the time of their last sign of life.
func (k Keys) Workers(group string) string { return k.prefix() + ":workers:" + group }

// Queue is the stream of partition p of a queue: entries that backends leave to each other.
func (k Keys) Queue(p int, queue string) string { return k.partition(p) + ":" + queue }

// QueueWaiting are the IDs of what waits for another attempt in partition p of a queue, by when it is due (unix ms).
func (k Keys) QueueWaiting(p int, queue string) string { return k.Queue(p, queue) + ":waiting" }

// QueueBodies is the hash of the entries of what waits, by ID.
func (k Keys) QueueBodies(p int, queue string) string { return k.Queue(p, queue) + ":bodies" }

// QueueDead is the stream of what was given up in partition p of a queue.
func (k Keys) QueueDead(p int, queue string) string { return k.Queue(p, queue) + ":dead" }

// QueueGivenUp are the IDs of what was given up, dropped dead letters included, by when (unix ms).
func (k Keys) QueueGivenUp(p int, queue string) string { return k.Queue(p, queue) + ":given-up" }

// Turn is held by the one program that does some work for all of a queue.
func (k Keys) Turn(queue, work string) string { return k.prefix() + ":turn:" + queue + ":" + work }

// Node is the stream of answers to the connections of one node.
func (k Keys) Node(node string) string { return k.prefix() + ":node:{" + node + "}" }

func (k Keys) partition(p int) string { return k.prefix() + ":{" + strconv.Itoa(p) + "}" }
