package memory_test

import (
	"sync"
	"testing"

	"github.com/millracehq/millrace/backend/reward"
	"github.com/millracehq/millrace/backend/reward/memory"
	"github.com/millracehq/millrace/backend/reward/rewardtest"
)

func TestStore(t *testing.T) {
	t.Parallel()
	rewardtest.Run(t, open)
}

// TestAnyOrder has more of what is slow elsewhere.
func TestAnyOrder(t *testing.T) {
	t.Parallel()
	rewardtest.AnyOrder(t, open, 40)
}

func open(_ *testing.T, rules *reward.Rules) *rewardtest.Bed {
	var mu sync.Mutex
	members := make(map[[2]string]bool)
	s := memory.New(rules, func(team, user string) bool {
		mu.Lock()
		defer mu.Unlock()
		return members[[2]string{team, user}]
	}, nil)
	return &rewardtest.Bed{Store: s, Desk: s.Desk, Join: func(team, user string) {
		mu.Lock()
		defer mu.Unlock()
		members[[2]string{team, user}] = true
	}}
}
