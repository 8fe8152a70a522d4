package hub

// subscription links a connection and a channel, both ways.
type subscription struct {
	ch   *channel
	at   int32 // index in ch.subs
	next int32 // of the same connection
}

// arena keeps subscriptions by index; 0 is never used.
type arena struct {
	all  []subscription
	free int32 // head of the free ones, linked by next
}

func (a *arena) add(s subscription) int32 {
	if i := a.free; i != 0 {
		a.free = a.all[i].next
		a.all[i] = s
		return i
	}
	if len(a.all) == 0 {
		a.all = append(a.all, subscription{})
	}
	a.all = append(a.all, s)
	return int32(len(a.all) - 1)
}

func (a *arena) drop(i int32) {
	a.all[i] = subscription{next: a.free}
	a.free = i
}
