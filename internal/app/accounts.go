package app

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/version"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/session"
	"bunq_exporter/collector"
	"bunq_exporter/internal/config"
	"bunq_exporter/internal/web"
)

// accounts are the configured accounts. A reload replaces them.
type accounts struct {
	load      func() (*config.Config, error)
	logger    log.Logger
	transport http.RoundTripper // shared by all accounts, as are its connections
	limiter   *bunq.Limiter

	reloading chan struct{}      // holds one value during a reload
	running   map[string]running // by name; belongs to the reload

	current            atomic.Pointer[web.Configuration]
	reloadOK, reloadAt prometheus.Gauge
}

// running is an account whose session is kept open.
type running struct {
	*collector.Account
	login config.Account // without the device servers
	stop  context.CancelFunc
}

func newAccounts(load func() (*config.Config, error), limiter *bunq.Limiter, logger log.Logger) *accounts {
	a := &accounts{
		load: load, logger: logger, transport: bunq.NewTransport(), limiter: limiter, reloading: make(chan struct{}, 1),
		reloadOK: newGauge("successful", "Whether the last configuration reload attempt was successful."),
		reloadAt: newGauge("success_timestamp_seconds", "Unix time of the last successful configuration reload."),
	}
	a.current.Store(&web.Configuration{})
	return a
}

func newGauge(name, help string) prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts{Name: "bunq_exporter_config_last_reload_" + name, Help: help})
}

func (a *accounts) configuration() web.Configuration { return *a.current.Load() }

// reloadTimeout is how long a reload waits for the disk of the configuration, and for a reload that does so already.
const reloadTimeout = 10 * time.Second

// reload reads the configuration and applies it as a whole; an invalid one changes nothing. Where the disk does not
// answer in time, that is an error, and the configuration is applied when it does.
func (a *accounts) reload(ctx context.Context) error {
	inTime, cancel := context.WithTimeout(ctx, reloadTimeout)
	defer cancel()
	applied := make(chan error, 1)
	select {
	case a.reloading <- struct{}{}:
		go func() {
			defer func() { <-a.reloading }()
			applied <- a.apply(ctx)
		}()
	case <-inTime.Done():
	}
	select {
	case err := <-applied:
		return err
	case <-inTime.Done():
		return a.failed(fmt.Errorf("reading the configuration: no answer from its disk: %w", inTime.Err()))
	}
}

// failed notes why a reload failed, unless another one has succeeded meanwhile.
func (a *accounts) failed(err error) error {
	before := a.current.Load()
	current := *before
	if current.Err = err; a.current.CompareAndSwap(before, &current) {
		a.reloadOK.Set(0)
	}
	return err
}

// apply loads and applies the configuration. The accounts run until ctx ends. One that differs in nothing but its
// device servers keeps its session and its counters.
func (a *accounts) apply(ctx context.Context) error {
	loaded, err := a.load()
	if err != nil {
		return a.failed(err)
	}
	a.limiter.Resume() // the effect of a reload shows at once
	before := a.running
	a.running = map[string]running{}
	var list []*collector.Account
	for _, c := range loaded.Accounts {
		login := c
		login.DeviceServers = config.DeviceServers{}
		account := before[c.Name]
		if reflect.DeepEqual(login, account.login) { // not so if there is none
			account.Reload(collector.Selection(c.DeviceServers))
			delete(before, c.Name)
		} else {
			account = a.start(ctx, c)
		}
		account.login = login
		a.running[c.Name] = account
		list = append(list, account.Account)
	}
	for _, account := range before {
		account.stop()
	}
	a.current.Store(&web.Configuration{Accounts: list, Loaded: time.Now()})
	a.reloadOK.Set(1)
	a.reloadAt.SetToCurrentTime()
	go func() { // which may wait for the disks of the files
		for _, warning := range loaded.Warnings() {
			_ = level.Warn(a.logger).Log("msg", "Insecure file permissions", "err", warning)
		}
	}()
	_ = level.Info(a.logger).Log("msg", "Loaded configuration", "accounts", len(list))
	return nil
}

// reloadAndLog is for a reload in the background.
func (a *accounts) reloadAndLog(ctx context.Context) error {
	err := a.reload(ctx)
	if err != nil {
		_ = level.Error(a.logger).Log("msg", "Failed to reload configuration, keeping the previous one", "err", err)
	}
	return err
}

// start returns a new account that is kept logged in.
func (a *accounts) start(ctx context.Context, c config.Account) running {
	account := collector.NewAccount(c.Name, collector.Selection(c.DeviceServers), bunq.Config{
		BaseURL: cmp.Or(c.BaseURL, c.Environment.BaseURL()), UserAgent: "bunq_exporter/" + version.Version,
		Transport: a.transport, Limiter: a.limiter,
	}, session.Config{
		Environment: c.Environment, APIKey: c.APIKey, ContextFile: c.ContextFile,
		Description: c.Description, PermittedIPs: c.PermittedIPs,
	}, a.logger)
	ctx, stop := context.WithCancel(ctx)
	go account.Run(ctx)
	return running{Account: account, stop: stop}
}
