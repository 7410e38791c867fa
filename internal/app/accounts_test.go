package app

import (
	"context"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
	"bunq_exporter/collector"
	"bunq_exporter/internal/config"
)

// newTestAccounts returns accounts with one that is logged in with the installation of a handler.
func newTestAccounts(t *testing.T, api http.Handler, apiKey string) *accounts {
	account := config.Account{
		Name: "company", Environment: bunq.Sandbox, APIKeyInline: apiKey, Description: "test",
		ContextFile: filepath.Join(t.TempDir(), "company.conf"), DeviceServers: config.DeviceServers{All: true},
	}
	load := func() (*config.Config, error) { return &config.Config{Accounts: []config.Account{account}}, nil }
	a := newAccounts(load, bunq.NewLimiter(bunq.MaxReads), log.NewNopLogger())
	a.transport = bunqtest.Transport(api)
	return a
}

// A configuration on a disk that hangs delays neither a reload nor the shutdown, and is applied when the disk answers.
func TestReloadWhileDiskHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newTestAccounts(t, http.NotFoundHandler(), "sandbox_key")
		load, hangs := a.load, make(chan struct{})
		a.load = func() (*config.Config, error) {
			<-hangs
			return load()
		}
		for range 2 {
			if err := a.reload(t.Context()); err == nil || a.configuration().Err == nil {
				t.Errorf("%v, the status page shows %v", err, a.configuration().Err)
			}
		}
		close(hangs)
		synctest.Wait()
		if current := a.configuration(); len(current.Accounts) != 1 || current.Err != nil {
			t.Errorf("the configuration is %+v", current)
		}
	})
}

// A gateway says that the next call must wait a year. Five minutes at most, and after a reload, none.
func TestReloadEndsPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var limited atomic.Bool
		api := newDemo()
		a := newTestAccounts(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if limited.Load() {
				w.Header().Set("Retry-After", "31536000")
				w.WriteHeader(http.StatusTooManyRequests)
			} else {
				api.ServeHTTP(w, r)
			}
		}), demoKey)
		answered := func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			registry := prometheus.NewRegistry()
			registry.MustRegister(collector.Scrape(ctx, a.configuration().Accounts))
			_, _ = registry.Gather()
			return a.configuration().Accounts[0].State().Result.Answered
		}
		reload := func() {
			if err := a.reload(t.Context()); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Minute) // for the login
		}
		reload()
		limited.Store(true)
		before := answered()
		limited.Store(false)
		if paused := answered(); before || paused {
			t.Errorf("answered is %t, %t", before, paused)
		}
		if reload(); !answered() {
			t.Error("the reload did not end the pause")
		}
	})
}
