package app

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
	"bunq_exporter/collector"
	"bunq_exporter/internal/config"
)

// demo is the simulated API of --demo. It has one user, with device servers of every status. Responses take about as
// long as those of the real API.
type demo struct {
	*bunqtest.Server
	http    *http.Server
	baseURL string
	folder  string // of the context file
}

const (
	demoKey      = "sandbox_demo"
	demoInterval = 15 * time.Second // at which the demo scrapes itself
	changingID   = 4715             // of the device server whose status changes
)

func newDemo() *demo {
	d := &demo{Server: bunqtest.New(bunqtest.Options{})}
	d.AddUser(bunqtest.User{ID: 1, Kind: "UserCompany", APIKey: demoKey, SessionTimeout: time.Hour})
	const day = 24 * time.Hour
	now := time.Now()
	add := func(id int64, created, updated time.Duration, description, ip string, status bunq.Status) {
		d.AddDeviceServer(1, bunq.DeviceServer{
			ID: id, Created: now.Add(-created), Updated: now.Add(-updated), Description: description, IP: ip, Status: status,
		})
	}
	add(4711, 700*day, 90*day, "webshop production", "198.51.100.11", bunq.StatusActive)
	add(4712, 420*day, 2*time.Hour, "bookkeeping sync", "198.51.100.12", bunq.StatusBlocked)
	add(4713, 3*day, 3*day, "new payout worker", "203.0.113.7", bunq.StatusNeedsConfirmation)
	add(4714, 1500*day, 400*day, "old webshop", "198.51.100.10", bunq.StatusObsolete)
	add(changingID, 30*day, time.Minute, "changes every minute", "203.0.113.8", bunq.StatusActive)
	add(4720, 5*time.Hour, 5*time.Hour, "not in the configuration", "192.0.2.66", bunq.StatusActive)
	return d
}

func startDemo(ctx context.Context, address string) (*demo, error) {
	d := newDemo()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	d.folder, err = os.MkdirTemp("", "bunq_exporter-demo-")
	if err != nil {
		return nil, fmt.Errorf("creating a folder for the API context: %w", err)
	}
	d.http, d.baseURL = newServer(d), reachable(listener.Addr())+"/v1"
	go func() { _ = d.http.Serve(listener) }() // ends with stop
	return d, nil
}

func (d *demo) stop() {
	_ = d.http.Close()
	_ = os.RemoveAll(d.folder)
}

// ServeHTTP implements [http.Handler].
func (d *demo) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	time.Sleep(30*time.Millisecond + rand.N(100*time.Millisecond)) //nolint:gosec // not secret
	d.Server.ServeHTTP(w, r)
}

// config returns the configuration of the simulated API. The exporter reports the device server that it lacks as
// unexpected.
func (d *demo) config() (*config.Config, error) {
	return &config.Config{Accounts: []config.Account{{
		Name: "demo", Environment: bunq.Sandbox, BaseURL: d.baseURL, APIKeyInline: demoKey,
		ContextFile: filepath.Join(d.folder, "bunq.conf"), Description: "bunq_exporter",
		DeviceServers: config.DeviceServers{IDs: []int64{4711, 4712, 4713, 4714, changingID}},
	}}}, nil
}

// scrape scrapes the accounts until ctx ends, so that the pages show data without a Prometheus. It changes the status
// of one device server every minute.
func (d *demo) scrape(ctx context.Context, accounts *accounts) {
	for minutes := 1; ctx.Err() == nil; minutes++ {
		for range time.Minute / demoInterval {
			scrape, cancel := context.WithTimeout(ctx, demoInterval)
			collector.Scrape(scrape, accounts.configuration().Accounts) // the pages show what fails
			<-scrape.Done()                                             // at the end of the interval, or of ctx
			cancel()
		}
		d.SetStatus(changingID, bunq.Statuses[minutes%4])
	}
}

// demoText has the addresses of the pages and of the simulated API.
const demoText = `
bunq_exporter watches a simulated bunq API:

  metrics        %[1]s%[2]s
  status page    %[1]s/status
  simulated API  %[3]s
  its API key    %[4]s

The status of device server 4715 changes every minute. Device server 4720 is on the account, but not configured.

`

// reachable returns a URL at which this machine reaches a listener, also one for all addresses.
func reachable(address net.Addr) string {
	return "http://" + strings.NewReplacer("[::]", "localhost", "0.0.0.0", "localhost").Replace(address.String())
}
