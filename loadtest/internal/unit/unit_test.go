package unit

import "testing"

func TestFormat(t *testing.T) {
	for _, tc := range []struct {
		v    float64
		unit string
		want string
	}{
		{0, Milliseconds, "0s"},
		{0.0005, Milliseconds, "500ns"},
		{0.87462, Milliseconds, "874.62µs"},
		{6, Milliseconds, "6ms"},
		{1500, Milliseconds, "1.5s"},
		{125e3, Milliseconds, "2m5s"},
		{999, Bytes, "999 B"},
		{1.5e6, Bytes, "1.5 MB"},
		{2e13, Bytes, "20.0 TB"},
		{2500, BytesRate, "2.5 kB/s"},
		{0.5, Share, "50%"},
		{1.25, Cores, "1.25"},
		{9999, Number, "9999"},
		{12500, PerSecond, "12.5k/s"},
		{1799.99, PerSecond, "1800/s"},
		{99.25, Number, "99.25"},
		{-3e6, Number, "-3M"},
		{2e9, Number, "2G"},
	} {
		if got := Format(tc.v, tc.unit); got != tc.want {
			t.Errorf("%v %s: %q, want %q", tc.v, tc.unit, got, tc.want)
		}
	}
}
