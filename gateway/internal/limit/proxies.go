package limit

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Proxies are those whose word about a client's address is taken.
type Proxies []netip.Prefix

// ParseProxies reads addresses and ranges: 10.0.0.0/8, 192.0.2.7, fd00::/8.
func ParseProxies(list []string) (p Proxies, err error) {
	for _, text := range list {
		text = strings.TrimSpace(text)
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			addr, err := netip.ParseAddr(text)
			if err != nil || addr.Zone() != "" {
				return nil, fmt.Errorf("%q is neither an address nor a range such as 10.0.0.0/8", text)
			}
			prefix = netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen())
		}
		if prefix.Bits() == 0 {
			return nil, fmt.Errorf("%q is everybody: then a client says itself what its address is", text)
		}
		p = append(p, prefix.Masked())
	}
	return p, nil
}

func (p Proxies) trusts(a netip.Addr) bool {
	for _, prefix := range p {
		if prefix.Contains(a) {
			return true
		}
	}
	return false
}

// Client is the address of the client behind peer: peer itself, unless that is a proxy that is trusted; then the right-most address that the
// headers name and that is none. Each proxy has appended whom it was connected to, so what stands left of that is the client's own claim. header
// are the values of X-Forwarded-For, or of Forwarded, in their order. An element that cannot be read ends the search: what is known by then counts.
func (p Proxies) Client(peer netip.Addr, headers []string, forwarded bool) netip.Addr {
	client := peer.Unmap()
	for _, rest := range slices.Backward(headers) {
		for {
			if !p.trusts(client) {
				return client
			}
			i := strings.LastIndexByte(rest, ',')
			element := strings.Trim(rest[i+1:], " \t")
			if forwarded {
				element = forOf(element)
			}
			a, ok := parseNode(element)
			if !ok {
				return client
			}
			client = a
			if i < 0 {
				break
			}
			rest = rest[:i]
		}
	}
	return client
}

// forOf is the value of "for" in an element of Forwarded (RFC 7239 section 4): for=192.0.2.60;proto=http. A comma within quotes would cut an element in
// two that cannot be read, which is safe: no address has one.
func forOf(element string) string {
	for pair := range strings.SplitSeq(element, ";") {
		name, value, _ := strings.Cut(pair, "=")
		if strings.EqualFold(strings.Trim(name, " \t"), "for") {
			value = strings.Trim(value, " \t")
			if len(value) > 1 && value[0] == '"' && value[len(value)-1] == '"' {
				value = value[1 : len(value)-1]
			}
			return value
		}
	}
	return ""
}

// parseNode reads an address with or without a port, as proxies write it: 192.0.2.1, 192.0.2.1:80, 2001:db8::1, [2001:db8::1], [2001:db8::1]:80.
func parseNode(text string) (netip.Addr, bool) {
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return ap.Addr().Unmap().WithZone(""), true
	}
	if n := len(text); n > 2 && text[0] == '[' && text[n-1] == ']' {
		text = text[1 : n-1]
	}
	a, err := netip.ParseAddr(text)
	return a.Unmap().WithZone(""), err == nil
}
