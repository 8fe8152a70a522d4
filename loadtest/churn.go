package loadtest

import (
	"math"
	"time"

	"github.com/millracehq/millrace/loadtest/internal/swarm"
)

// Churn has clients come and go in the steady phase, in turn, without those that publish or stop reading. They resume, so that
// everything must reach them.
type Churn struct {
	LeaveRate float64  `yaml:"leave_rate" json:"leave_rate"` // clients a second that close their connection and come back; 0: none
	Away      Duration `yaml:"away" json:"away"`             // for which each stays away
	RenewRate float64  `yaml:"renew_rate" json:"renew_rate"` // subscriptions a second that are ended by unsub and begun anew; 0: none
}

func (s *Scenario) validateChurn(f *faults) {
	c := s.Churn
	f.add(c.LeaveRate >= 0 && !math.IsInf(c.LeaveRate, 0), "churn.leave_rate: %v per second", c.LeaveRate)
	f.add(c.RenewRate >= 0 && !math.IsInf(c.RenewRate, 0), "churn.renew_rate: %v per second", c.RenewRate)
	f.add(c.Away >= 0, "churn.away: %s is below zero", c.Away)
	f.add(c.LeaveRate == 0 && c.RenewRate == 0 || s.Reconnect, "churn: who leaves comes back, so reconnect must be true")
	f.add(c.RenewRate == 0 || s.Subscriptions > 0, "churn.renew_rate: there are no subscriptions")
	f.add(c.LeaveRate == 0 && c.RenewRate == 0 || s.Connections > s.Publish.Publishers+s.StopReading.Connections,
		"churn: all %d connections publish or stop reading, so that none may leave", s.Connections)
}

func (c Churn) config() swarm.Churn {
	return swarm.Churn{LeaveRate: c.LeaveRate, Away: time.Duration(c.Away), RenewRate: c.RenewRate}
}
