// Package polling is the baseline that push is compared with: an HTTP server that clients ask for news of a channel, again and again.
// It reads the same streams as a gateway and is as cheap as such a server can well be: answers come from memory, connections are kept.
//
//	out streams ─Follow─▶ Board: the newest publications of each channel ─ServeHTTP─▶ GET ?channel=CHANNEL&after=POSITION
//
//	body = POSITION LF *( LENGTH LF publication )      where to ask behind next time, then what came after the POSITION asked for
//
// Without after there are no publications: the POSITION is where the channel stands. A POSITION is a number that means something to one
// board only. One that is not there any more, or never was, is answered 410 with the present one: what came between is not to be had.
package polling
