package main

import (
	"net/http"
	"reflect"
	"sync"
	"sync/atomic"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"

	"bunq_exporter/bunq"
	"bunq_exporter/collector"
	"bunq_exporter/config"
)

// watch is what is watched now. A reload replaces it.
type watch struct {
	load      func() (*config.Config, error)
	logger    log.Logger
	transport http.RoundTripper // one for all accounts: they share connections
	limiter   *bunq.Limiter     // and the address that bunq's rate limits belong to

	reloading  sync.Mutex
	configured map[string]config.Account // by name; guarded by reloading
	accounts   atomic.Pointer[[]*collector.Account]

	reloadOK, reloadTime prometheus.Gauge
}

func newWatch(load func() (*config.Config, error), logger log.Logger) *watch {
	w := &watch{
		load:      load,
		logger:    logger,
		transport: bunq.NewTransport(),
		limiter:   bunq.NewLimiter(),
		reloadOK: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "bunq_exporter_config_last_reload_successful",
			Help: "1 if the configuration file could be used when it was last read.",
		}),
		reloadTime: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "bunq_exporter_config_last_reload_success_timestamp_seconds",
			Help: "When the configuration in use was read, as Unix time.",
		}),
	}
	w.accounts.Store(&[]*collector.Account{})
	return w
}

func (w *watch) current() []*collector.Account { return *w.accounts.Load() }

// reload reads the configuration again. One that is wrong changes nothing.
func (w *watch) reload() error {
	w.reloading.Lock()
	defer w.reloading.Unlock()
	count, err := w.replace()
	if err != nil {
		w.reloadOK.Set(0)
		return err
	}
	w.reloadOK.Set(1)
	w.reloadTime.SetToCurrentTime()
	_ = level.Info(w.logger).Log("msg", "Configuration loaded", "accounts", len(w.current()), "device_servers", count)
	return nil
}

// reloadAndLog is for a reload that nobody waits for at a terminal.
func (w *watch) reloadAndLog() error {
	err := w.reload()
	if err != nil {
		_ = level.Error(w.logger).Log("msg", "The configuration cannot be used, the one before stays", "err", err)
	}
	return err
}

// replace puts the accounts of the configuration in place, and returns how many device servers they watch. An account
// stays, with its session and its counters, if nothing but what it watches has changed.
func (w *watch) replace() (count int, err error) {
	loaded, err := w.load()
	if err != nil {
		return 0, err
	}
	before := map[string]*collector.Account{}
	for _, a := range w.current() {
		before[a.Name()] = a
	}
	configured := map[string]config.Account{}
	var accounts []*collector.Account
	for _, c := range loaded.Accounts {
		account := before[c.Name]
		if account == nil || !sameAccount(c, w.configured[c.Name]) {
			if account, err = w.newAccount(c); err != nil {
				return 0, err
			}
		}
		configured[c.Name] = c
		accounts = append(accounts, account)
		count += len(c.DeviceServers)
	}
	for _, a := range accounts {
		a.Watch(configured[a.Name()].DeviceServers)
	}
	w.configured = configured
	w.accounts.Store(&accounts)
	return count, nil
}

// sameAccount reports whether two configurations differ in nothing but what is watched.
func sameAccount(a, b config.Account) bool {
	a.DeviceServers, b.DeviceServers = nil, nil
	return reflect.DeepEqual(a, b)
}

func (w *watch) newAccount(c config.Account) (*collector.Account, error) {
	return collector.NewAccount(c.Name, c.DeviceServers, bunq.Config{
		Environment:  c.Environment,
		BaseURL:      c.BaseURL,
		APIKey:       c.APIKey,
		ContextFile:  c.ContextFile,
		Description:  c.Description,
		PermittedIPs: c.PermittedIPs,
		UserAgent:    "bunq_exporter/" + programVersion(),
		Transport:    w.transport,
		Limiter:      w.limiter,
	}, w.logger)
}
