package remote

import (
	"encoding/binary"
	"math"
)

// series is one sample of one time series. Labels are sorted by name, and __name__ is among them.
type series struct {
	labels []label
	value  float64
	millis int64 // since 1970
}

type label struct{ name, value string }

// Wire types of Protocol Buffers.
const (
	varint  = 0
	fixed64 = 1
	lengths = 2
)

func appendTag(dst []byte, field, wire uint64) []byte {
	return binary.AppendUvarint(dst, field<<3|wire)
}

func appendBytes(dst []byte, field uint64, text []byte) []byte {
	dst = appendTag(dst, field, lengths)
	dst = binary.AppendUvarint(dst, uint64(len(text)))
	return append(dst, text...)
}

// appendRequest writes a prometheus.WriteRequest (remote write 1.0, prompb/remote.proto and types.proto):
//
//	WriteRequest { repeated TimeSeries timeseries = 1 }
//	TimeSeries   { repeated Label labels = 1; repeated Sample samples = 2 }
//	Label        { string name = 1; string value = 2 }
//	Sample       { double value = 1; int64 timestamp = 2 }
func appendRequest(dst []byte, list []series) []byte {
	var one, inner []byte
	for _, s := range list {
		one = one[:0]
		for _, l := range s.labels {
			inner = appendBytes(inner[:0], 1, []byte(l.name))
			inner = appendBytes(inner, 2, []byte(l.value))
			one = appendBytes(one, 1, inner)
		}
		inner = appendTag(inner[:0], 1, fixed64)
		inner = binary.LittleEndian.AppendUint64(inner, math.Float64bits(s.value))
		inner = appendTag(inner, 2, varint)
		inner = binary.AppendUvarint(inner, uint64(s.millis))
		one = appendBytes(one, 2, inner)
		dst = appendBytes(dst, 1, one)
	}
	return dst
}

// appendSnappy writes text in Snappy's block format, as literals only: some kB a second are not worth a compressor.
// (format_description.txt of google/snappy: the length, then a tag of 61<<2 and two bytes of length-1 before each literal.)
func appendSnappy(dst, text []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(text)))
	for len(text) > 0 {
		n := min(len(text), 1<<16)
		dst = append(dst, 61<<2, byte(n-1), byte((n-1)>>8))
		dst = append(dst, text[:n]...)
		text = text[n:]
	}
	return dst
}
