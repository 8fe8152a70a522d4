package loadtest

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	spareDescriptors = 64   // for everything that is not a connection
	connectionMemory = 8192 // bytes: about 0.3 KB here, the rest for sockets in the kernel, both ends when the server is on this machine
	lookupTimeout    = 5 * time.Second
)

// target is where a scenario connects, and from where.
type target struct {
	remote netip.AddrPort
	locals []netip.Addr
	host   string // of the handshake
	uri    string
	tls    *tls.Config // nil: none
}

// preflight finds the target and checks that this machine can hold the connections. Its errors say what to change.
func (s *Scenario) preflight(ctx context.Context) (target, error) {
	u, err := url.Parse(s.URL)
	if err != nil {
		return target{}, err
	}
	t := target{host: u.Host, uri: u.RequestURI()}
	if t.remote, err = resolve(ctx, u); err != nil {
		return target{}, err
	}
	if err := raiseDescriptors(s.sockets() + spareDescriptors); err != nil {
		return target{}, err
	}
	if available := memAvailable(); available > 0 && s.sockets()*connectionMemory > available {
		return target{}, fmt.Errorf("%d connections take about %d MB, and %d MB are free: use fewer connections, or more machines",
			s.sockets(), s.sockets()*connectionMemory>>20, available>>20)
	}
	if u.Scheme == "wss" {
		if t.tls, err = s.clientTLS(ctx, u.Hostname(), t.remote); err != nil {
			return target{}, err
		}
	}
	t.locals, err = s.sources(t.remote, ephemeralPorts())
	return t, err
}

func resolve(ctx context.Context, u *url.URL) (netip.AddrPort, error) {
	port := 80
	if u.Scheme == "wss" {
		port = 443
	}
	if p := u.Port(); p != "" {
		var err error
		if port, err = strconv.Atoi(p); err != nil || port < 1 || port > 65535 {
			return netip.AddrPort{}, fmt.Errorf("url: %q is not a port", p)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname())
	if err != nil || len(addrs) == 0 {
		return netip.AddrPort{}, fmt.Errorf("url: the host %s is not known: %w", u.Hostname(), err)
	}
	best := addrs[0]
	for _, a := range addrs {
		if a.Unmap().Is4() { // a server that listens on one family only listens on this one
			best = a
			break
		}
	}
	return netip.AddrPortFrom(best.Unmap(), uint16(port)), nil
}

// raiseDescriptors makes room for open files, up to the hard limit.
func raiseDescriptors(need int) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("limit of open files: %w", err)
	}
	if limit.Cur >= uint64(need) {
		return nil
	}
	if limit.Max < uint64(need) {
		return fmt.Errorf("%d open files are needed and the hard limit is %d: raise it (ulimit -Hn %d as root, LimitNOFILE=%d in systemd, --ulimit nofile=%d in docker), or use fewer connections",
			need, limit.Max, need, need, need)
	}
	limit.Cur = limit.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("raise the limit of open files to %d: %w", limit.Max, err)
	}
	return nil
}

// sources chooses the source addresses. One address has only so many ports towards one server; a loopback server can be reached
// from all of 127.0.0.0/8, so there more are taken by themselves before half of the ports are used up.
func (s *Scenario) sources(remote netip.AddrPort, ports int) ([]netip.Addr, error) {
	var locals []netip.Addr
	for _, text := range s.LocalAddresses {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("local_addresses: %w", err)
		}
		locals = append(locals, a)
	}
	if remote.Addr().Is4() && remote.Addr().IsLoopback() && len(locals) == 0 && (2*s.sockets() > ports || s.part.Of > 1) {
		n := 2*s.sockets()/ports + 1
		for i := s.part.Index * n; i < (s.part.Index+1)*n; i++ { // agents may be on one machine
			locals = append(locals, netip.AddrFrom4([4]byte{127, 0, byte(i / 250), byte(1 + i%250)}))
		}
	}
	if room := max(len(locals), 1) * ports; s.sockets() > room {
		return nil, fmt.Errorf("%d connections need as many ports, and %d source address(es) have %d: list more of this machine's addresses in local_addresses, or widen the range (sysctl net.ipv4.ip_local_port_range=\"1024 65535\")",
			s.sockets(), max(len(locals), 1), room)
	}
	return locals, nil
}

// ephemeralPorts is how many ports one source address has towards one server.
func ephemeralPorts() int {
	const usual = 60999 - 32768 + 1
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return usual
	}
	var first, last int
	if _, err := fmt.Sscan(string(text), &first, &last); err != nil {
		return usual
	}
	return last - first + 1
}

// memAvailable is in bytes, 0 when it cannot be told.
func memAvailable() int { return procKilobytes("/proc/meminfo", "MemAvailable:") * 1024 }

// procKilobytes reads one line of a file such as /proc/meminfo; 0 when it is not there.
func procKilobytes(file, key string) int {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, key); ok {
			n, _ := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")))
			return n
		}
	}
	return 0
}
