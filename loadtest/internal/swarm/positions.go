package swarm

// positions keeps the last POSITION of each subscription, in one slice without pointers.
type positions struct{ all []byte }

// positionSize is a length byte and the longest POSITION of the protocol.
const positionSize = 1 + 64

func newPositions(n int) positions { return positions{make([]byte, n*positionSize)} }

// set keeps a position; one that is too long to be one is not kept. Positions that nobody made room for are not kept either.
func (p positions) set(subscription int, position []byte) {
	if len(p.all) == 0 || len(position) >= positionSize {
		return
	}
	at := subscription * positionSize
	p.all[at] = byte(len(position))
	copy(p.all[at+1:], position)
}

// get is the position last set, empty when there is none.
func (p positions) get(subscription int) []byte {
	if len(p.all) == 0 {
		return nil
	}
	at := subscription * positionSize
	return p.all[at+1 : at+1+int(p.all[at])]
}
