package loadtest

// Needs is what a scenario takes and asks of a server, for inspect.
type Needs struct {
	Descriptors   int     `json:"open_files"`
	Ports         int     `json:"ports_per_source"` // of one source address
	Sources       int     `json:"source_addresses"` // 1 unless more are listed; a loopback target gets more by itself
	Subscriptions int     `json:"subscriptions"`
	Publications  float64 `json:"publications_per_second"`
	Deliveries    float64 `json:"deliveries_per_second"`
	Seconds       float64 `json:"seconds"` // from the first connect to the last close, at most
}

// sockets is how many connections one process can have at a time.
func (s *Scenario) sockets() int {
	n, of := s.Connections+s.users(), max(s.part.Of, 1)
	return (n + of - 1) / of
}

// Needs computes what a resolved scenario takes.
func (s *Scenario) Needs() Needs {
	n := Needs{
		Descriptors: s.sockets() + spareDescriptors, Ports: ephemeralPorts(), Sources: max(len(s.LocalAddresses), 1),
		Subscriptions: s.Connections * s.Subscriptions, Publications: s.Publish.Rate,
		Seconds: float64(s.sockets())/s.ConnectRate + float64(s.Settle+s.Warmup+max(s.Duration, s.longest(true))+s.Drain)/1e9,
	}
	if s.Channels.Count > 0 {
		n.Deliveries = s.Publish.Rate * float64(n.Subscriptions) / float64(s.Channels.Count)
	}
	return n
}
