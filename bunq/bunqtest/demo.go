package bunqtest

import (
	"context"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"

	"bunq_exporter/bunq"
)

// Demo is a simulated API with an account that has device servers in every status. It answers about as quickly as bunq
// does, and is in maintenance now and then.
type Demo struct {
	*Server
	APIKey string

	changing    int64 // the device server whose status changes
	maintenance atomic.Bool
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

// ServeHTTP implements [http.Handler].
func (d *Demo) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	latency := 30*time.Millisecond + time.Duration(rand.ExpFloat64()*float64(50*time.Millisecond)) //nolint:gosec // no secret
	select {
	case <-time.After(min(latency, time.Second)):
	case <-r.Context().Done():
		return
	}
	if d.maintenance.Load() {
		http.Error(w, "<h1>bunq is in maintenance</h1>", http.StatusServiceUnavailable)
		return
	}
	d.Server.ServeHTTP(w, r)
}

// maintenanceEach is how many minutes there are from one minute of maintenance to the next.
const maintenanceEach = 15

// Run lives the demo until ctx ends: each minute a status changes, and some are of maintenance.
func (d *Demo) Run(ctx context.Context) {
	statuses := bunq.Statuses()
	for i := 1; ; i++ {
		select {
		case <-time.After(time.Minute):
			d.SetStatus(d.changing, statuses[i%len(statuses)])
			d.maintenance.Store(i%maintenanceEach == 0)
		case <-ctx.Done():
			return
		}
	}
}
