package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millracehq/millrace/gateway/client"
	"github.com/millracehq/millrace/internal/freeport"
	"github.com/millracehq/millrace/internal/redistest"
)

// TestRewardsOfBoards is the whole way: cards are made through a gateway, their log feeds the rewards, and the user is told of what that
// unlocks, on a channel on which nobody else can publish.
func TestRewardsOfBoards(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	database := "sqlite:" + filepath.Join(t.TempDir(), "boards.db")
	listen, admin, health, rewards := freeport.MustAddr(t), freeport.MustAddr(t), freeport.MustAddr(t), freeport.MustAddr(t)
	start(t, "http://"+health+"/readyz", "backend", "--redis", redis.URL(), "--listen", health, "--database", database, "--rewards")
	start(t, "http://"+rewards+"/readyz", "backend", "rewards", "--redis", redis.URL(), "--listen", rewards, "--database", database)
	start(t, "http://"+admin+"/readyz", "gateway", "--redis", redis.URL(), "--listen", listen, "--admin", admin, "--config", boardsConfig)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := client.Dial(ctx, "ws://"+listen+"/ws", client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	told, err := c.Subscribe(ctx, "reward:anonymous", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Publish(ctx, "reward:anonymous", "", []byte("I am rich")); err == nil {
		t.Error("a client can publish what only the rewards may")
	}
	ask := func(channel, body string) {
		t.Helper()
		if got, err := c.Request(ctx, channel, []byte(body)); err != nil || strings.Contains(string(got), `"error"`) || strings.Contains(string(got), "rejected") {
			t.Fatalf("%s: %s, %v", body, got, err)
		}
	}
	ask("workspace:w", `{"do":"create","name":"W"}`)
	ask("workspace:w", `{"do":"create_board","id":"b","title":"B"}`)
	ask("board:b", `{"do":"mutate","mutations":[{"client":"c","n":1,"schema":1,"base":0,"ts":1,"ops":[{"op":"put","kind":"column","id":"todo","values":{"title":"T"}}]}]}`)
	for i := range 10 {
		ask("board:b", fmt.Sprintf(`{"do":"mutate","mutations":[{"client":"c","n":%d,"schema":1,"base":0,"ts":1,"ops":[
			{"op":"put","kind":"card","id":"c%d","lane":"todo","values":{"title":"C"}}]}]}`, i+2, i))
	}
	p, err := told.Next(ctx)
	if err != nil || !strings.Contains(string(p.Data), `"unlocks":[{"key":"author"`) || !strings.Contains(string(p.Data), `"user":"anonymous"`) {
		t.Errorf("told %s, %v; want that author was unlocked", p.Data, err)
	}
}
