package swarm

// command is a publication or request that has not been answered yet.
type command struct {
	k      int64 // publication number; of a request, its number among requests
	due    int64 // ns
	first  int64 // ns: when it was first sent; 0: not yet
	last   int64 // ns: when it was last sent
	client int32
	uses   uint32 // how often this place has been used; part of the REF
	tries  uint8
	kind   commandKind
}

type commandKind uint8

const (
	commandNone    commandKind = iota // the place is free
	commandPublish                    // waits for ok
	commandRequest                    // waits for res
	commandResend                     // a publication that must be sent again once its client is ready
)

// pending holds the unanswered commands; its places are used again. The REF of a command says its place and which use of it, so
// that an answer that comes twice or too late finds nothing. REFs below firstRef are those of sub.
type pending struct {
	all  []command
	free []uint32
	open int
}

const (
	placeBits  = 22 // REF: uses, then place
	maxPending = 1 << placeBits
	firstRef   = 1 << placeBits
)

// add takes a place for a command. It reports false when there are already maxPending.
func (p *pending) add(c command) (place uint32, ok bool) {
	if n := len(p.free); n > 0 {
		place = p.free[n-1]
		p.free = p.free[:n-1]
	} else if len(p.all) == maxPending {
		return 0, false
	} else {
		place = uint32(len(p.all))
		p.all = append(p.all, command{})
	}
	uses := p.all[place].uses + 1
	if uses == 1<<31 { // a REF is at most 2^53-1
		uses = 1
	}
	c.uses = uses
	p.all[place] = c
	p.open++
	return place, true
}

func (p *pending) ref(place uint32) uint64 {
	return uint64(p.all[place].uses)<<placeBits | uint64(place)
}

// find returns the command that a REF names, or nil.
func (p *pending) find(ref uint64) (place uint32, c *command) {
	place = uint32(ref % maxPending)
	if int(place) >= len(p.all) || p.all[place].kind == commandNone || p.ref(place) != ref {
		return 0, nil
	}
	return place, &p.all[place]
}

// remove frees a place.
func (p *pending) remove(place uint32) {
	p.all[place].kind = commandNone
	p.free = append(p.free, place)
	p.open--
}
