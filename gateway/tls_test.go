package gateway

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestTLSSettings(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		says string
	}{
		{Config{TLSCert: "a.pem"}, "set both"},
		{Config{TLSKey: "a.pem"}, "set both"},
		{Config{ProxyProtocol: []string{"10.0.0.0/8", "lan"}}, `"lan" is neither`},
		{Config{ProxyProtocol: []string{""}}, `"" is neither`},
		{Config{ProxyProtocol: []string{"10.0.0.0/40"}}, "neither"},
	} {
		if err := c.cfg.Validate(); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v", c.cfg.ProxyProtocol, err)
		}
	}
	got, err := Config{ProxyProtocol: []string{"10.1.2.3/8", "127.0.0.1", "2001:db8::/32"}}.prefixes()
	want := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("2001:db8::/32")}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	_, err = New(Config{Listen: "127.0.0.1:0", Admin: "127.0.0.1:0", TLSCert: "/no/cert.pem", TLSKey: "/no/key.pem"})
	if err == nil || !strings.Contains(err.Error(), "/no/cert.pem") {
		t.Errorf("a certificate that is not there: %v", err)
	}
}
