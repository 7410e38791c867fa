package bunq_test

import (
	"context"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
)

const apiKey = "sandbox_0123456789abcdef"

// newAPI returns a simulated API with one user, who has some device servers.
func newAPI(t *testing.T, options bunqtest.Options, devices ...bunq.DeviceServer) *bunqtest.Server {
	t.Helper()
	api, err := bunqtest.New(options)
	if err != nil {
		t.Fatal(err)
	}
	api.AddUser(bunqtest.User{ID: 1, Kind: "UserPerson", APIKey: apiKey, SessionTimeout: 7 * 24 * time.Hour})
	for _, d := range devices {
		api.AddDeviceServer(1, d)
	}
	return api
}

// recorder keeps the calls that a client tells of.
type recorder struct {
	mu    sync.Mutex
	calls []bunq.Call
}

func (r *recorder) observe(call bunq.Call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, call)
}

// newConfig returns the configuration of a client of the handler, with a context file of its own.
func newConfig(t *testing.T, api http.Handler) bunq.Config {
	t.Helper()
	return bunq.Config{
		Environment: bunq.Sandbox,
		APIKey:      func() (string, error) { return apiKey, nil },
		ContextFile: filepath.Join(t.TempDir(), "bunq.conf"),
		Description: "bunq_exporter",
		UserAgent:   "bunq_exporter/test",
		Transport:   bunqtest.Transport(api),
	}
}

func newClient(t *testing.T, config bunq.Config) *bunq.Client {
	t.Helper()
	client, err := bunq.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// list reads all pages.
func list(ctx context.Context, client *bunq.Client) (all []bunq.DeviceServer, err error) {
	for older := int64(0); ; {
		page, err := client.DeviceServers(ctx, older)
		if err != nil {
			return all, err
		}
		all = append(all, page.DeviceServers...)
		if older = page.Older; older == 0 {
			return all, nil
		}
	}
}

// devices returns n device servers with the ids 1 to n, newest first.
func devices(n int) []bunq.DeviceServer {
	var all []bunq.DeviceServer
	created := time.Date(2015, 6, 13, 23, 19, 16, 215235000, time.UTC)
	for id := n; id >= 1; id-- {
		all = append(all, bunq.DeviceServer{
			ID: int64(id), Created: created, Updated: created.Add(time.Duration(id) * time.Microsecond),
			Description: "a server", IP: "192.0.2.7", Status: bunq.Statuses()[id%4],
		})
	}
	return all
}

func TestFirstReadingDoesTheHandshakeAndLaterOnesReuseIt(t *testing.T) {
	api := newAPI(t, bunqtest.Options{}, devices(3)...)
	config := newConfig(t, api)
	client := newClient(t, config)
	for range 2 {
		got, err := list(t.Context(), client)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(api.DeviceServers(), got); diff != "" {
			t.Errorf("device servers, -in bunq +read:\n%s", diff)
		}
	}
	again := newClient(t, config) // a restart
	if _, err := again.DeviceServer(t.Context(), 2); err != nil {
		t.Error(err)
	}
	for operation, want := range map[bunq.Operation]int{
		bunq.CreateInstallation: 1, bunq.CreateDeviceServer: 1, bunq.CreateSessionServer: 1, bunq.ListDeviceServers: 2, bunq.ReadDeviceServer: 1,
	} {
		if got := api.Requests(operation); got != want {
			t.Errorf("%s: %d requests, want %d", operation, got, want)
		}
	}
	own := slices.MaxFunc(api.DeviceServers(), func(a, b bunq.DeviceServer) int { return a.Created.Compare(b.Created) })
	if got := again.Login().DeviceServerID; got != own.ID {
		t.Errorf("own device server is %d, want %d", got, own.ID)
	}
}
