package bunqtest

import (
	"context"
	"math/rand/v2"
	"net/http"
	"time"

	"bunq_exporter/bunq"
)

// Demo is a simulated API for --demo. It has one user, with device servers of every status. Responses take about as
// long as those of the real API.
type Demo struct {
	*Server
	APIKey string
}

// changingID is the id of the device server whose status changes.
const changingID = 4715

// NewDemo returns a demo with its device servers.
func NewDemo() *Demo {
	demo := &Demo{Server: New(Options{}), APIKey: "sandbox_" + newToken()}
	demo.AddUser(User{ID: 1, Kind: "UserCompany", APIKey: demo.APIKey, SessionTimeout: time.Hour})
	const day = 24 * time.Hour
	add := func(id int64, created, updated time.Duration, description, ip string, status bunq.Status) {
		demo.AddDeviceServer(1, bunq.DeviceServer{
			ID: id, Created: now().Add(-created), Updated: now().Add(-updated),
			Description: description, IP: ip, Status: status,
		})
	}
	add(4711, 700*day, 90*day, "webshop production", "198.51.100.11", bunq.StatusActive)
	add(4712, 420*day, 2*time.Hour, "bookkeeping sync", "198.51.100.12", bunq.StatusBlocked)
	add(4713, 3*day, 3*day, "new payout worker", "203.0.113.7", bunq.StatusNeedsConfirmation)
	add(4714, 1500*day, 400*day, "old webshop", "198.51.100.10", bunq.StatusObsolete)
	add(changingID, 30*day, time.Minute, "changes every minute", "203.0.113.8", bunq.StatusActive)
	add(4720, 5*time.Hour, 5*time.Hour, "not in the configuration", "192.0.2.66", bunq.StatusActive)
	return demo
}

// Watched returns the ids of the device servers to configure: all but one, which the exporter reports as unexpected.
func (d *Demo) Watched() []int64 { return []int64{4711, 4712, 4713, 4714, changingID} }

// ServeHTTP implements [http.Handler].
func (d *Demo) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	time.Sleep(30*time.Millisecond + rand.N(100*time.Millisecond)) //nolint:gosec // not secret
	d.Server.ServeHTTP(w, r)
}

// Run changes the status of one device server every minute until ctx is done.
func (d *Demo) Run(ctx context.Context) {
	statuses := bunq.Statuses()
	for minute := 1; ; minute++ {
		select {
		case <-time.After(time.Minute):
			d.SetStatus(changingID, statuses[minute%len(statuses)])
		case <-ctx.Done():
			return
		}
	}
}
