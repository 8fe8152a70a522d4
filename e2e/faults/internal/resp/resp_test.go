package resp

import (
	"errors"
	"io"
	"net"
	"reflect"
	"sync"
	"testing"
)

func TestAnswers(t *testing.T) {
	tests := map[string]struct {
		want any
		err  error
	}{
		"+OK\r\n":                        {"OK", nil},
		":-7\r\n":                        {int64(-7), nil},
		"$3\r\na\nb\r\n":                 {"a\nb", nil},
		"$-1\r\n":                        {nil, nil},
		"*2\r\n*1\r\n$1\r\na\r\n$-1\r\n": {[]any{[]any{"a"}, nil}, nil},
		"-ERR no\r\n":                    {nil, Error("ERR no")},
		"?1\r\n":                         {nil, ErrAnswer},
		"\r\n":                           {nil, ErrAnswer},
		":x\r\n":                         {nil, ErrAnswer},
		"*2\r\n+a\r\n-LOADING later\r\n": {nil, Error("LOADING later")},
	}
	for answer, test := range tests {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			c, err := l.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			const request = "*2\r\n$4\r\nECHO\r\n$1\r\nx\r\n"
			b := make([]byte, len(request))
			if _, err := io.ReadFull(c, b); err != nil || string(b) != request {
				t.Errorf("request %q, %v", b, err)
			}
			io.WriteString(c, answer)
		})
		got, err := Once(t.Context(), l.Addr().String(), "ECHO", "x")
		if !reflect.DeepEqual(got, test.want) || !errors.Is(err, test.err) {
			t.Errorf("%q: %v, %v; want %v, %v", answer, got, err, test.want, test.err)
		}
		wg.Wait()
		l.Close()
	}
}
