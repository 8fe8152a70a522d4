package redis

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// kind is how Redis is run.
type kind int

const (
	single kind = iota
	sentinel
	cluster
)

// address is [Config.URL], read. It is printed only by [address.String], which leaves credentials out.
type address struct {
	kind           kind
	hosts          []string // host:port; of the sentinels, or some servers of the Cluster
	user, password string
	db             int
	master         string // Sentinel's name of it

	sentinelUser, sentinelPassword string

	tls        bool
	tlsOptions tlsOptions
}

// forms are what the errors of parseAddress offer.
var forms = map[kind]string{
	single:   "redis://[user:password@]host:port[/db]",
	sentinel: "redis+sentinel://[user:password@]host:port[,host:port…]/master-name[/db]",
	cluster:  "redis+cluster://[user:password@]host:port[,host:port…]",
}

var errCredentials = errors.New("user and password cannot be read: write user:password@ or :password@ before the host, with / ? # @ : % in them as %2F %3F %23 %40 %3A %25")

// parseAddress reads an address. It is not url.Parse, which knows no lists of hosts and quotes passwords in its errors.
func parseAddress(text string) (a address, err error) {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		return a, fmt.Errorf("no scheme: want %s", forms[single])
	}
	if a.kind, a.tls, err = parseScheme(scheme); err != nil {
		return a, err
	}
	rest, query, _ := strings.Cut(rest, "?")
	authority, path, _ := strings.Cut(rest, "/")
	if strings.Contains(path+query, "@") {
		return a, errCredentials // a slash or question mark in the password: the rest of it must not be quoted as something else
	}
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		if a.user, a.password, err = parseUser(authority[:at]); err != nil {
			return a, err
		}
		authority = authority[at+1:]
	}
	if err := a.parseHosts(authority); err != nil {
		return a, err
	}
	if err := a.parsePath(path); err != nil {
		return a, err
	}
	return a, a.parseQuery(query)
}

func parseScheme(scheme string) (k kind, tls bool, err error) {
	base, variant, _ := strings.Cut(scheme, "+")
	if base == "redis" || base == "rediss" {
		tls = base == "rediss"
		switch {
		case scheme == base:
			return single, tls, nil
		case variant == "sentinel":
			return sentinel, tls, nil
		case variant == "cluster":
			return cluster, tls, nil
		}
	}
	if strings.Contains(scheme, "@") || len(scheme) > 20 { // it is no scheme, and may hold a password
		scheme = "the text before ://"
	}
	return 0, false, fmt.Errorf("%s is no scheme of Redis: want redis://, redis+sentinel:// or redis+cluster://, or with TLS rediss://, rediss+sentinel://, rediss+cluster://", scheme)
}

func parseUser(text string) (user, password string, err error) {
	user, password, ok := strings.Cut(text, ":")
	if user, err = url.PathUnescape(user); err != nil || !ok {
		return "", "", errCredentials
	}
	if password, err = url.PathUnescape(password); err != nil || password == "" && user != "" {
		return "", "", errCredentials
	}
	return user, password, nil
}

func (a *address) parseHosts(text string) error {
	port := "6379"
	if a.kind == sentinel {
		port = "26379"
	}
	for host := range strings.SplitSeq(text, ",") {
		name, p, err := net.SplitHostPort(host)
		if err != nil {
			name, p = strings.Trim(host, "[]"), port
		}
		if n, err := strconv.Atoi(p); err != nil || n < 1 || n > 65535 {
			return fmt.Errorf("port %q is not in 1 to 65535: want %s", p, forms[a.kind])
		}
		if name == "" && a.kind == single && text != "" {
			name = "localhost"
		}
		if name == "" || strings.ContainsAny(name, "[]@ ") || strings.Contains(name, ":") && net.ParseIP(name) == nil {
			return fmt.Errorf("no host: want %s", forms[a.kind])
		}
		a.hosts = append(a.hosts, net.JoinHostPort(name, p))
	}
	if a.kind == single && len(a.hosts) > 1 {
		return fmt.Errorf("%d hosts: for one of several write %s or %s", len(a.hosts), forms[sentinel], forms[cluster])
	}
	return nil
}

func (a *address) parsePath(path string) error {
	db := path
	switch a.kind {
	case sentinel:
		a.master, db, _ = strings.Cut(path, "/")
		if a.master == "" {
			return fmt.Errorf("no name of the master that the sentinels watch: want %s", forms[sentinel])
		}
	case cluster:
		if path != "" && path != "0" {
			return fmt.Errorf("database %q: a Cluster has only database 0; leave it out", path)
		}
	}
	if db == "" {
		return nil
	}
	n, err := strconv.Atoi(db)
	if err != nil || n < 0 {
		return fmt.Errorf("database %q is not a number from 0 on: want %s", db, forms[a.kind])
	}
	a.db = n
	return nil
}

// parseQuery reads the options, each at most once.
func (a *address) parseQuery(query string) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return errors.New("options behind ? cannot be read: write name=value&name=value, with & = % + in values as %26 %3D %25 %2B")
	}
	fields := map[string]*string{
		"ca": &a.tlsOptions.ca, "cert": &a.tlsOptions.cert, "key": &a.tlsOptions.key, "server_name": &a.tlsOptions.serverName,
		"insecure_skip_verify": &a.tlsOptions.insecure, "sentinel_user": &a.sentinelUser, "sentinel_password": &a.sentinelPassword,
	}
	known := []string{"ca", "cert", "insecure_skip_verify", "key", "sentinel_password", "sentinel_user", "server_name"}
	for name, list := range values {
		field, ok := fields[name]
		switch {
		case !ok:
			return fmt.Errorf("option %q is not known: there are %s", name, strings.Join(known, ", "))
		case len(list) > 1:
			return fmt.Errorf("option %s is given %d times", name, len(list))
		case list[0] == "":
			return fmt.Errorf("option %s has no value", name)
		case slices.Contains([]string{"sentinel_user", "sentinel_password"}, name):
			if a.kind != sentinel {
				return fmt.Errorf("option %s is for %s", name, forms[sentinel])
			}
		case !a.tls:
			return fmt.Errorf("option %s is for TLS: begin the address with rediss instead of redis", name)
		}
		*field = list[0]
	}
	if a.sentinelUser != "" && a.sentinelPassword == "" {
		return errors.New("option sentinel_user wants sentinel_password")
	}
	return nil
}

// String is host:port of a single Redis, or the address without credentials and options.
func (a *address) String() string {
	if a.kind == single {
		return a.hosts[0]
	}
	s := "redis"
	if a.tls {
		s = "rediss"
	}
	hosts := strings.Join(a.hosts, ",")
	if a.kind == cluster {
		return s + "+cluster://" + hosts
	}
	return s + "+sentinel://" + hosts + "/" + a.master
}
