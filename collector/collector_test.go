package collector_test

import (
	"bytes"
	"context"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
	"bunq_exporter/collector"
)

var update = flag.Bool("update", false, "write the golden files anew")

const apiKey = "sandbox_0123456789abcdef"

// newAPI returns a simulated API with one user.
func newAPI(t *testing.T, devices ...bunq.DeviceServer) *bunqtest.Server {
	t.Helper()
	return newAPIWith(t, bunqtest.Options{}, time.Hour, devices...)
}

func newAPIWith(t *testing.T, options bunqtest.Options, session time.Duration, devices ...bunq.DeviceServer) *bunqtest.Server {
	t.Helper()
	api, err := bunqtest.New(options)
	if err != nil {
		t.Fatal(err)
	}
	api.AddUser(bunqtest.User{ID: 1, Kind: "UserPerson", APIKey: apiKey, SessionTimeout: session})
	for _, d := range devices {
		api.AddDeviceServer(1, d)
	}
	return api
}

func device(id int64, status bunq.Status) bunq.DeviceServer {
	created := time.Date(2015, 6, 13, 23, 19, 16, 215235000, time.UTC)
	return bunq.DeviceServer{
		ID: id, Created: created, Updated: created.Add(time.Hour + time.Microsecond),
		Description: `a "quoted" server`, IP: "192.0.2.7", Status: status,
	}
}

// newAccount returns an account that watches the ids, and its log.
func newAccount(t *testing.T, name string, api http.Handler, ids ...int64) (*collector.Account, *bytes.Buffer) {
	t.Helper()
	return newAccountIn(t, t.TempDir(), name, api, ids...)
}

func newAccountIn(t *testing.T, folder, name string, api http.Handler, ids ...int64) (*collector.Account, *bytes.Buffer) {
	t.Helper()
	return newAccountOf(t, newConfig(folder, api), name, ids...)
}

func newConfig(folder string, api http.Handler) bunq.Config {
	return bunq.Config{
		Environment: bunq.Sandbox,
		APIKey:      func() (string, error) { return apiKey, nil },
		ContextFile: filepath.Join(folder, "bunq.conf"),
		Description: "bunq_exporter",
		UserAgent:   "bunq_exporter/test",
		Transport:   bunqtest.Transport(api),
	}
}

func newAccountOf(t *testing.T, config bunq.Config, name string, ids ...int64) (*collector.Account, *bytes.Buffer) {
	t.Helper()
	var logged bytes.Buffer
	account, err := collector.NewAccount(name, ids, config, log.NewLogfmtLogger(log.NewSyncWriter(&logged)))
	if err != nil {
		t.Fatal(err)
	}
	return account, &logged
}

// scrape returns what one scrape of the accounts gathers.
func scrape(t *testing.T, timeout time.Duration, accounts ...*collector.Account) []*dto.MetricFamily {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(collector.Scrape(ctx, accounts))
	families, err := registry.Gather()
	if err != nil {
		t.Error(err)
	}
	return families
}

func exposition(t *testing.T, families []*dto.MetricFamily) string {
	t.Helper()
	var text bytes.Buffer
	for _, family := range families {
		if _, err := expfmt.MetricFamilyToText(&text, family); err != nil {
			t.Fatal(err)
		}
	}
	return text.String()
}

// checkGolden compares with a golden file, parses the exposition again and lints it.
func checkGolden(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join("testdata", name+".prom")
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(golden), text); diff != "" {
		t.Errorf("exposition, -golden +now (go test ./collector -update writes the golden files anew):\n%s", diff)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	if _, err := parser.TextToMetricFamilies(strings.NewReader(text)); err != nil {
		t.Errorf("the exposition cannot be parsed: %v", err)
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v %v", problems, err)
	}
}

func TestGoldenExpositions(t *testing.T) {
	for name, test := range map[string]struct {
		devices []bunq.DeviceServer
		ids     []int64
		api     func(*testing.T) http.Handler // in place of one that works
	}{
		"all_well": {
			devices: []bunq.DeviceServer{device(11, bunq.StatusActive), device(12, bunq.StatusActive)}, ids: []int64{11, 12},
		},
		"id_unknown": {
			devices: []bunq.DeviceServer{device(11, bunq.StatusActive)}, ids: []int64{11, 99},
		},
		"one_blocked": {
			devices: []bunq.DeviceServer{device(11, bunq.StatusActive), device(12, bunq.StatusBlocked)}, ids: []int64{11, 12},
		},
		"unknown_status": {
			devices: []bunq.DeviceServer{device(11, "HIBERNATING")}, ids: []int64{11},
		},
		"unexpected": {
			devices: []bunq.DeviceServer{device(11, bunq.StatusActive), device(12, bunq.StatusObsolete)}, ids: []int64{11},
		},
		"api_down": {
			ids: []int64{11, 12},
			api: func(_ *testing.T) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					w.WriteHeader(http.StatusServiceUnavailable)
					_, _ = w.Write([]byte("<html>We are down for maintenance.</html>"))
				})
			},
		},
		"key_refused": {
			ids: []int64{11, 12},
			api: func(t *testing.T) http.Handler {
				api, err := bunqtest.New(bunqtest.Options{}) // without a user, every key is a wrong one
				if err != nil {
					t.Fatal(err)
				}
				return api
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := newAPI(t, test.devices...)
				var handler http.Handler = api
				if test.api != nil {
					handler = test.api(t)
				}
				account, _ := newAccount(t, "company", handler, test.ids...)
				checkGolden(t, name, exposition(t, scrape(t, 9*time.Second, account)))
			})
		})
	}
}
