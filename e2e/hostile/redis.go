package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"

	"github.com/alicebob/miniredis/v2"
)

// redisMain is the embedded Redis, in a process of its own, since echoes go through it and must not wait behind the goroutines of an attack: it says where it is, and
// serves until in ends.
func redisMain(in io.Reader, out io.Writer) int {
	server := miniredis.NewMiniRedis()
	if err := server.Start(); err != nil {
		fmt.Fprintln(out, err)
		return 1
	}
	fmt.Fprintf(out, "redis://%s\n", server.Addr())
	_, _ = io.Copy(io.Discard, in)
	server.Close()
	return 0
}

// startRedis runs that process.
func startRedis(ctx context.Context, exe string) (url string, stop func() error, err error) {
	cmd := exec.CommandContext(ctx, exe, "redis")
	in, err := cmd.StdinPipe()
	if err != nil {
		return "", nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() error { return errors.Join(in.Close(), cmd.Wait()) }
	line, err := bufio.NewReader(out).ReadString('\n')
	if url = strings.TrimSpace(line); err != nil || !strings.HasPrefix(url, "redis://") {
		return "", nil, errors.Join(fmt.Errorf("the embedded Redis did not start: %s", url), err, stop())
	}
	return url, stop, nil
}
