package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"

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

// reloadTo reloads a configuration of accounts, or one that has an error.
func (a *accounts) reloadTo(ctx context.Context, t *testing.T, err error, list ...config.Account) {
	t.Helper()
	a.load = func() (*config.Config, error) { return &config.Config{Accounts: list}, err }
	if got := a.reload(ctx); !errors.Is(got, err) {
		t.Errorf("reload: %v, want %v", got, err)
	}
}

func (a *accounts) scrape(ctx context.Context, t *testing.T, timeout time.Duration) string {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	text, err := testutil.CollectAndFormat(collector.Scrape(ctx, a.configuration().Accounts), expfmt.TypeTextPlain,
		"bunq_up", "bunq_device_server_up", "bunq_api_requests_total")
	if err != nil {
		t.Error(err)
	}
	return string(text)
}

// logins returns the number of calls that register and log in.
func (d *demo) logins() int {
	return d.Requests(bunq.CreateInstallation) + d.Requests(bunq.CreateDeviceServer) + d.Requests(bunq.CreateSessionServer)
}

// expectAccounts wants a scrape to show the configuration in which an account comes, or the one without it. It returns
// the reads of the account that stays.
func expectAccounts(t *testing.T, text string, comes bool) (reads int) {
	t.Helper()
	for part, want := range map[string]bool{
		`bunq_device_server_up{account="stays",id="4711"}`: comes,
		`bunq_device_server_up{account="stays",id="4712"}`: !comes,
		`account="comes"`: comes,
	} {
		if strings.Contains(text, part) != want {
			t.Fatalf("%s is shown: %t", part, !want)
		}
	}
	_, after, _ := strings.Cut(text, `{account="stays",code="200",endpoint="device-server",method="GET"} `)
	if _, err := fmt.Sscan(after, &reads); err != nil {
		t.Fatal(err)
	}
	return reads
}

// The account that stays keeps its session and counters while another one comes and goes. A configuration that is
// invalid changes nothing.
func TestThousandReloads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		api := newDemo()
		a := newTestAccounts(t, api, demoKey)
		loaded, _ := a.load()
		account := func(name string, id int64) config.Account {
			c := loaded.Accounts[0]
			c.Name, c.ContextFile, c.DeviceServers = name, c.ContextFile+name, config.DeviceServers{IDs: []int64{id}}
			return c
		}
		a.reloadTo(ctx, t, nil, account("stays", 4711), account("comes", 4713))
		time.Sleep(5 * time.Minute) // for both logins
		a.reloadTo(ctx, t, nil, account("stays", 4712))
		var scrapes sync.WaitGroup
		defer func() {
			cancel()
			scrapes.Wait()
			time.Sleep(10 * time.Second) // for reads in flight
		}()
		for range 2 {
			scrapes.Go(func() {
				for ctx.Err() == nil {
					a.scrape(ctx, t, 10*time.Second)
					time.Sleep(100 * time.Millisecond)
				}
			})
		}
		time.Sleep(time.Minute)
		logins, goroutines, reads, comes := api.logins(), runtime.NumGoroutine(), 0, false
		for i := range 1000 {
			if i%3 == 0 {
				a.reloadTo(ctx, t, errors.New("invalid"))
			} else if comes = !comes; comes {
				a.reloadTo(ctx, t, nil, account("stays", 4711), account("comes", 4713))
			} else {
				a.reloadTo(ctx, t, nil, account("stays", 4712))
			}
			time.Sleep(500 * time.Millisecond)
			before := reads
			if reads = expectAccounts(t, a.scrape(ctx, t, time.Second), comes); reads < before {
				t.Fatalf("reload %d: %d reads after %d", i, reads, before)
			}
		}
		a.reloadTo(ctx, t, nil, account("stays", 4712))
		time.Sleep(time.Minute)
		if n := runtime.NumGoroutine(); n > goroutines || api.logins() != logins || reads < 300 {
			t.Errorf("%d goroutines after %d, %d logins after %d, %d reads", n, goroutines, api.logins(), logins, reads)
		}
	})
}
