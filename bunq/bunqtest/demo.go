package bunqtest

import (
	"context"
	"time"

	"bunq_exporter/bunq"
)

// Demo is a simulated API with an account that has device servers in every status.
type Demo struct {
	*Server
	APIKey string

	changing int64 // the device server whose status changes
}

const demoUser = 1

// NewDemo returns a demo whose device servers were registered some time ago.
func NewDemo() (*Demo, error) {
	api, err := New(Options{})
	if err != nil {
		return nil, err
	}
	demo := &Demo{Server: api, APIKey: "sandbox_" + newToken(), changing: 4715}
	api.AddUser(User{ID: demoUser, Kind: "UserCompany", APIKey: demo.APIKey, SessionTimeout: time.Hour})
	ago := func(d time.Duration) time.Time { return now().Add(-d) }
	const day = 24 * time.Hour
	for _, d := range []bunq.DeviceServer{
		{ID: 4711, Created: ago(700 * day), Updated: ago(90 * day), Description: "webshop production", IP: "198.51.100.11", Status: bunq.StatusActive},
		{ID: 4712, Created: ago(420 * day), Updated: ago(2 * time.Hour), Description: "bookkeeping sync", IP: "198.51.100.12", Status: bunq.StatusBlocked},
		{ID: 4713, Created: ago(3 * day), Updated: ago(3 * day), Description: "new payout worker", IP: "203.0.113.7", Status: bunq.StatusNeedsConfirmation},
		{ID: 4714, Created: ago(1500 * day), Updated: ago(400 * day), Description: "old webshop", IP: "198.51.100.10", Status: bunq.StatusObsolete},
		{ID: demo.changing, Created: ago(30 * day), Updated: ago(time.Minute), Description: "changes every minute", IP: "203.0.113.8", Status: bunq.StatusActive},
		{ID: 4720, Created: ago(5 * time.Hour), Updated: ago(5 * time.Hour), Description: "whose is this?", IP: "192.0.2.66", Status: bunq.StatusActive},
	} {
		api.AddDeviceServer(demoUser, d)
	}
	return demo, nil
}

// Watched returns the ids to configure: all but that of one device server, which nobody expects.
func (d *Demo) Watched() []int64 { return []int64{4711, 4712, 4713, 4714, d.changing} }

// Run changes a status every minute until ctx ends.
func (d *Demo) Run(ctx context.Context) {
	statuses := bunq.Statuses()
	for i := 1; ; i++ {
		select {
		case <-time.After(time.Minute):
			d.SetStatus(d.changing, statuses[i%len(statuses)])
		case <-ctx.Done():
			return
		}
	}
}
