package web_test

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
	"bunq_exporter/bunq/session"
	"bunq_exporter/collector"
	"bunq_exporter/internal/web"
)

// fakeAPI is a bunq API with the device servers 11, which is watched, and 12.
type fakeAPI struct {
	*bunqtest.Server
	status atomic.Int32 // of all answers; 0: the API works
}

func (a *fakeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if status := a.status.Load(); status != 0 {
		a.Answer(w, r, int(status), []byte(`{"Error":[{"error_description":"<i>Later."}]}`))
		return
	}
	a.Server.ServeHTTP(w, r)
}

// newAccount returns an account that watches the device servers 11 and 99. It is not logged in.
func newAccount(t testing.TB, name string) (*collector.Account, *fakeAPI) {
	server := bunqtest.New(bunqtest.Options{})
	api, now := &fakeAPI{Server: server}, time.Now()
	api.AddUser(bunqtest.User{ID: 1, Kind: "UserPerson", APIKey: "sandbox_key", SessionTimeout: time.Hour})
	api.AddDeviceServer(1, bunq.DeviceServer{
		ID: 11, Description: "<script>", IP: "192.0.2.7", Status: bunq.StatusBlocked,
		Created: now.Add(-49 * time.Hour), Updated: now.Add(-3 * time.Hour),
	})
	api.AddDeviceServer(1, bunq.DeviceServer{ID: 12, Created: now, Status: `NEW "<b>`})
	account := collector.NewAccount(name, collector.Selection{IDs: []int64{11, 99}}, bunq.Config{
		BaseURL: bunq.Sandbox.BaseURL(), UserAgent: "bunq_exporter/test", Transport: bunqtest.Transport(api),
	}, session.Config{
		Environment: bunq.Sandbox, APIKey: func() (string, error) { return "sandbox_key", nil },
		Key:         bunqtest.ClientKey(0),
		ContextFile: filepath.Join(t.TempDir(), "bunq.conf"), Description: "bunq_exporter",
	}, log.NewNopLogger())
	return account, api
}

// runAccount returns a new account that is kept logged in until the end of the test.
func runAccount(t *testing.T, name string) (*collector.Account, *fakeAPI) {
	account, api := newAccount(t, name)
	run(t, account)
	return account, api
}

func run(t *testing.T, account *collector.Account) {
	var running sync.WaitGroup
	running.Go(func() { account.Run(t.Context()) })
	t.Cleanup(running.Wait) // before the folder is removed
}

func newOptions(accounts ...*collector.Account) web.Options {
	registry := prometheus.NewRegistry()
	return web.Options{
		Configuration: func() web.Configuration { return web.Configuration{Accounts: accounts, Loaded: time.Now()} },
		Exporter:      registry, Requests: registry, Logger: log.NewNopLogger(),
		TelemetryPath: "/metrics", TimeoutOffset: 500 * time.Millisecond, Version: "1.2.3",
	}
}

func newHandler(t testing.TB, options web.Options) *web.Handler {
	handler, err := web.New(options)
	if err != nil {
		t.Fatal(err)
	}
	return handler
}

// request returns the answer to a request with headers, given as pairs of name and value.
func request(handler http.Handler, method, target string, headers ...string) *httptest.ResponseRecorder {
	r, w := httptest.NewRequest(method, target, nil), httptest.NewRecorder()
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	handler.ServeHTTP(w, r)
	return w
}

func get(handler http.Handler, target string) string {
	return request(handler, "GET", target).Body.String()
}

// expect fails the test for every text that a body lacks.
func expect(t *testing.T, body string, wanted ...string) {
	t.Helper()
	for _, want := range wanted {
		if !strings.Contains(body, want) {
			t.Errorf("missing %q in:\n%s", want, body)
		}
	}
}
