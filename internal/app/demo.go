package app

import (
	"context"
	"fmt"
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

// demo is the simulated API of --demo.
type demo struct {
	*bunqtest.Demo
	server  *http.Server
	baseURL string
	folder  string // of the context file
}

func startDemo(ctx context.Context, address string) (*demo, error) {
	api := bunqtest.NewDemo()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "bunq_exporter-demo-")
	if err != nil {
		return nil, fmt.Errorf("creating a folder for the API context: %w", err)
	}
	d := &demo{Demo: api, server: newServer(api), baseURL: reachable(listener.Addr()) + "/v1", folder: folder}
	go func() { _ = d.server.Serve(listener) }() // ends with stop
	go d.Run(ctx)
	return d, nil
}

func (d *demo) stop() {
	_ = d.server.Close()
	_ = os.RemoveAll(d.folder)
}

// config returns the configuration of the simulated API.
func (d *demo) config() (*config.Config, error) {
	return &config.Config{Accounts: []config.Account{{
		Name: "demo", Environment: bunq.Sandbox, BaseURL: d.baseURL, APIKeyInline: d.APIKey,
		ContextFile: filepath.Join(d.folder, "bunq.conf"), Description: "bunq_exporter",
		DeviceServers: config.DeviceServers{IDs: d.Watched()},
	}}}, nil
}

// demoInterval is the interval at which the demo scrapes itself.
const demoInterval = 15 * time.Second

// scrape scrapes the accounts until ctx ends, so that the pages show data without a Prometheus.
func (d *demo) scrape(ctx context.Context, accounts *accounts) {
	for ctx.Err() == nil {
		scrape, cancel := context.WithTimeout(ctx, demoInterval)
		collector.Scrape(scrape, accounts.configuration().Accounts) // the pages show what fails
		<-scrape.Done()                                             // at the end of the interval, or of ctx
		cancel()
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
