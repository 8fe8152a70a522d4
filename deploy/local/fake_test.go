package main

import (
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestMain lets this test binary stand in for the programs that the supervisor starts, by the name it is called.
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "gateway", "backend":
		os.Exit(fakeChild(os.Args[1:]))
	case "local":
		main()
	default:
		os.Exit(m.Run())
	}
}

// fakeChild is a gateway or backend that only says what happens to it. FAKE_GATEWAY and FAKE_BACKEND change it:
// die (at once), unready (for ever), stubborn (deaf to SIGTERM).
func fakeChild(args []string) int {
	kind := filepath.Base(os.Args[0])
	mood := os.Getenv("FAKE_" + strings.ToUpper(kind))
	fmt.Println("started", strings.Join(args, " "))
	if mood == "die" {
		fmt.Println("cannot live like this")
		return 3
	}
	f := flag.NewFlagSet(kind, flag.ExitOnError)
	listen, admin, redis := f.String("listen", "", ""), f.String("admin", "", ""), f.String("redis", "", "")
	f.String("node", "", "")
	f.String("database", "", "")
	f.String("config", "", "")
	f.String("consumer", "", "")
	f.Bool("rewards", false, "")
	f.Bool("demo-sign-in", false, "")
	if len(args) > 0 && args[0] == "rewards" {
		args = args[1:]
	}
	f.Parse(args)
	if *admin == "" {
		admin = listen
	}

	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	mux := http.NewServeMux()
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		if mood == "unready" {
			http.Error(w, "not yet", http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("/die", func(http.ResponseWriter, *http.Request) { os.Exit(4) })
	go http.ListenAndServe(*admin, mux)
	for range signals {
		_, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(*redis, "redis://"), "/0"))
		fmt.Println("got SIGTERM, redis is there:", err == nil)
		if mood != "stubborn" {
			return 0
		}
	}
	return 0
}
