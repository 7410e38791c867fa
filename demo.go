package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
	"bunq_exporter/config"
)

// demo is the simulated API of --demo, and what it takes to watch it.
type demo struct {
	*bunqtest.Demo
	server  *http.Server
	baseURL string
	folder  string // of the context file
}

func startDemo(ctx context.Context, address string) (*demo, error) {
	api, err := bunqtest.NewDemo()
	if err != nil {
		return nil, err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "bunq_exporter-demo-")
	if err != nil {
		return nil, fmt.Errorf("making a folder for the API context: %w", err)
	}
	d := &demo{
		Demo:    api,
		server:  newServer(api),
		baseURL: "http://" + reachable(listener.Addr()) + "/v1",
		folder:  folder,
	}
	go func() { _ = d.server.Serve(listener) }() // ends with stop
	go d.Run(ctx)
	return d, nil
}

func (d *demo) stop() {
	_ = d.server.Close()
	_ = os.RemoveAll(d.folder)
}

func (d *demo) contextFile() string { return filepath.Join(d.folder, "bunq.conf") }

// config is the configuration that a user would write for the simulated API.
func (d *demo) config() (*config.Config, error) {
	return &config.Config{Accounts: []config.Account{{
		Name:          "demo",
		Environment:   bunq.Sandbox,
		BaseURL:       d.baseURL,
		APIKeyInline:  config.Secret(d.APIKey),
		ContextFile:   d.contextFile(),
		Description:   "bunq_exporter",
		DeviceServers: d.Watched(),
	}}}, nil
}

// announce says where to look.
func (d *demo) announce(out io.Writer, exporter net.Addr, telemetryPath string) {
	_, _ = fmt.Fprintf(out, demoText, "http://"+reachable(exporter), telemetryPath, d.baseURL, d.APIKey, d.contextFile())
}

const demoText = `
bunq_exporter watches a simulated bunq API, as it would watch the real one.

  metrics        %[1]s%[2]s
  status page    %[1]s/status
  simulated API  %[3]s
  its API key    %[4]s

Every minute the status of device server 4715 changes; 4720 is on the account, but not in the configuration. For one
minute in fifteen bunq is in maintenance. Try:

  curl -s %[1]s%[2]s | grep ^bunq_device_server_status

and, after that first scrape, the API itself, with the session that the exporter opened:

  curl -s '%[3]s/device-server?count=200' \
    -H "X-Bunq-Client-Authentication: $(sed -n 's/.*"token": "\(.*\)".*/\1/p' %[5]s | tail -n 1)" \
    -H "X-Bunq-Client-Request-Id: $(date +%%s%%N)" -H 'X-Bunq-Language: en_US' -H 'X-Bunq-Region: nl_NL' \
    -H 'X-Bunq-Geolocation: 0 0 0 0 000' -H 'Cache-Control: no-cache'

`

// reachable is an address at which this machine reaches a listener, also one that listens on all addresses.
func reachable(address net.Addr) string {
	host, port, err := net.SplitHostPort(address.String())
	if err != nil {
		return address.String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}
