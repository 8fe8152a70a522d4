package swarm

import "container/heap"

// agenda is what is to be done at some time: a heap by time.
type agenda []task

// task is something about one client or one unanswered command.
type task struct {
	at int64 // ns
	id uint64
}

func (a *agenda) add(at int64, id uint64) { heap.Push(a, task{at, id}) }

// next is when the first task is due.
func (a agenda) next() (at int64, ok bool) {
	if len(a) == 0 {
		return 0, false
	}
	return a[0].at, true
}

// take removes the first task if it is due at now.
func (a *agenda) take(now int64) (id uint64, ok bool) {
	if len(*a) == 0 || (*a)[0].at > now {
		return 0, false
	}
	return heap.Pop(a).(task).id, true
}

// Len implements heap.Interface.
func (a agenda) Len() int { return len(a) }

// Less implements heap.Interface.
func (a agenda) Less(i, j int) bool { return a[i].at < a[j].at }

// Swap implements heap.Interface.
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }

// Push implements heap.Interface.
func (a *agenda) Push(x any) { *a = append(*a, x.(task)) }

// Pop implements heap.Interface.
func (a *agenda) Pop() any {
	last := len(*a) - 1
	t := (*a)[last]
	*a = (*a)[:last]
	return t
}
