package swarm

import (
	"math"
	"slices"
)

// popularity is how subscriptions are dealt to channels of unequal popularity, without a table of them. All places are laid out in
// rows of one place for each client; channels follow one another, so that a channel is a run of places, at most a row long:
//
//	place   j*N + i                  is the j-th subscription of client i
//	channel c                        has the places from first[c] to, not including, first[c+1]
//
//	first:    0          5      8   10 11 12      6 clients with 2 subscriptions each: channel 0 has 5 subscribers, channel 1 has 3 …
//	          0 0 0 0 0  1
//	          1 1  2 2  3  4
type popularity struct {
	clients int
	first   []int
}

// newPopularity makes the number of subscribers of the channel of rank r, from 1, proportional to 1/r^exponent; more than there are
// clients go to the next channels. With many channels the last ones have one subscriber or none.
func newPopularity(clients, perClient, channels int, exponent float64) popularity {
	weights := make([]float64, channels)
	sum := 0.0
	for c := range slices.Backward(weights) { // the smallest first, for exactness
		weights[c] = math.Pow(float64(c+1), -exponent)
		sum += weights[c]
	}
	p := popularity{clients: clients, first: make([]int, channels+1)}
	left, dealt := float64(clients*perClient), 0.0
	for c, w := range weights {
		subscribers := min(left*w/sum, float64(clients))
		left, sum, dealt = left-subscribers, sum-w, dealt+subscribers
		p.first[c+1] = min(int(math.Round(dealt)), p.first[c]+clients)
	}
	p.first[channels] = clients * perClient // what rounding left
	return p
}

// channel of the j-th subscription of a client.
func (p *popularity) channel(client, j int) int {
	place := j*p.clients + client
	c, found := slices.BinarySearch(p.first, place)
	if !found {
		return c - 1
	}
	for p.first[c+1] == place { // channels without subscribers
		c++
	}
	return c
}

// subscription is which one of a client's is to a channel.
func (p *popularity) subscription(client, channel int) (j int, ok bool) {
	from, to := p.first[channel], p.first[channel+1]
	j = (from - client + p.clients - 1) / p.clients // of the first place of the client from there on
	return j, j*p.clients+client < to
}
