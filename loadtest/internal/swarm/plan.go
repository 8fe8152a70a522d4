package swarm

// plan is who publishes and subscribes to what. It is arithmetic, so that a delivery finds its line without a lookup:
//
//	subscription i*K + j   of client i, j-th of K           is to channel (i*K + j) mod C, or as popularity says
//	feed f < F             one publisher's to one channel   is to channel f mod C, of publisher f mod P
//	feed F + w             of virtual user w that publishes is to channel w mod C (F is a multiple of C)
//	publication k < total  due at start + k/rate            is number k / F of feed k mod F; with bursts, see due
//	publication total + n  of a virtual user                is number n / W of feed F + n mod W
//	line                   one subscription's of one feed   is subscription*lanes + f / C
type plan struct {
	clients, channels, perClient int   // N without virtual users, C, K
	publishers, writers          int   // P, W
	feeds, lanes                 int   // F, and feeds per channel, virtual users' too
	burst                        int64 // publications that are due at once
	warm, total                  int64
	interval                     float64    // ns between publications
	popularity                   popularity // of channels; zero: all have as many subscribers
}

func newPlan(c Config, writers int) plan {
	p := plan{
		clients: c.Connections, channels: len(c.Channels), perClient: c.Subscriptions, publishers: c.Publishers, writers: writers,
		burst: int64(max(c.Burst, 1)),
	}
	if p.publishers > 0 && p.channels > 0 {
		p.lanes = (p.publishers + p.channels - 1) / p.channels
		p.feeds = p.lanes * p.channels
	}
	if writers > 0 {
		p.lanes += (writers + p.channels - 1) / p.channels
	}
	if c.Rate > 0 {
		p.interval = 1e9 / c.Rate
		p.warm = wholeBursts(c.Warmup.Seconds()*c.Rate, p.burst)
		p.total = wholeBursts((c.Warmup+c.Duration).Seconds()*c.Rate, p.burst)
	}
	if c.Zipf > 0 {
		p.popularity = newPopularity(p.clients, p.perClient, p.channels, c.Zipf)
	}
	return p
}

// wholeBursts is the number of publications in all bursts that begin before so many publications would be due one by one.
func wholeBursts(publications float64, burst int64) int64 {
	const rounding = 1e-6 // of seconds times a rate
	return (int64(publications+rounding) + burst - 1) / burst * burst
}

// due is when publication k is, in ns from the beginning of the load: with the first of its burst.
func (p *plan) due(k int64) int64 { return int64(float64(k-k%p.burst) * p.interval) }

// channel of a subscription.
func (p *plan) channel(subscription int) int {
	if p.popularity.first != nil {
		return p.popularity.channel(subscription/p.perClient%p.clients, subscription%p.perClient)
	}
	return subscription % p.channels
}

// channelOf a feed.
func (p *plan) channelOf(feed uint32) int { return int(feed) % p.channels }

// feedOf is the feed to a channel that is in a lane.
func (p *plan) feedOf(lane, channel int) uint32 { return uint32(lane*p.channels + channel) }

// subscription is the one of a client to a channel.
func (p *plan) subscription(client int32, channel int) (subscription int, ok bool) {
	first := int(client) * p.perClient
	if p.popularity.first != nil {
		j, ok := p.popularity.subscription(int(client)%p.clients, channel)
		return first + j, ok
	}
	j := (channel - first%p.channels + p.channels) % p.channels
	return first + j, j < p.perClient
}

// publisher is the client that publishes a feed below F; they are spread evenly over all clients.
func (p *plan) publisher(feed uint32) int32 {
	return int32(int(feed) % p.publishers * p.clients / p.publishers)
}

// publishes says whether a client publishes.
func (p *plan) publishes(client int32) bool {
	n := (int(client)*p.publishers + p.clients - 1) / p.clients // the first publisher that is this client or a later one
	return n < p.publishers && n*p.clients/p.publishers == int(client)
}

func (p *plan) feed(k int64) (feed, seq uint32) {
	if k >= p.total {
		k -= p.total
		return uint32(p.feeds) + uint32(k%int64(p.writers)), uint32(k / int64(p.writers))
	}
	return uint32(k % int64(p.feeds)), uint32(k / int64(p.feeds))
}

func (p *plan) publication(feed, seq uint32) int64 {
	if w := int64(feed) - int64(p.feeds); w >= 0 {
		return p.total + int64(seq)*int64(p.writers) + w
	}
	return int64(seq)*int64(p.feeds) + int64(feed)
}

func (p *plan) line(subscription int, feed uint32) int {
	return subscription*p.lanes + int(feed)/p.channels
}

// before is how many numbers of a feed below F are among the publications below k.
func (p *plan) before(feed uint32, k int64) uint32 {
	return uint32((k - int64(feed) + int64(p.feeds) - 1) / int64(p.feeds))
}
