package collector_test

import (
	"bytes"
	"cmp"
	"context"
	"flag"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
	"bunq_exporter/bunq/session"
	"bunq_exporter/collector"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const apiKey = "sandbox_0123456789abcdef"

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func device(id int64, status bunq.Status) bunq.DeviceServer {
	created := time.Date(2015, 6, 13, 23, 19, 16, 215235000, time.UTC)
	return bunq.DeviceServer{
		ID: id, Created: created, Updated: created.Add(time.Hour + time.Microsecond),
		Description: `a "quoted" server`, IP: "192.0.2.7", Status: status,
	}
}

// account is an account and its log.
type account struct {
	*collector.Account
	folder string // of the context file

	mu  sync.Mutex
	log bytes.Buffer
}

// Write implements [io.Writer].
func (a *account) Write(line []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.log.Write(line)
}

// logged returns the lines that were logged since the last call.
func (a *account) logged() []string {
	synctest.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	defer a.log.Reset()
	return slices.Collect(strings.Lines(a.log.String()))
}

// newAccount returns an account of a simulated API that keeps itself logged in, in a synctest bubble.
func newAccount(t testing.TB, api http.Handler, ids ...int64) *account {
	t.Helper()
	a := idleAccount(t, "company", apiKey, nil, api, ids...)
	go a.Run(t.Context())
	return a
}

// idleAccount returns an account that does not log in until it runs.
func idleAccount(t testing.TB, name, key string, limiter *bunq.Limiter, api http.Handler, ids ...int64) *account {
	t.Helper()
	a := &account{folder: t.TempDir()}
	a.Account = collector.NewAccount(name, collector.Selection{IDs: ids}, bunq.Config{
		BaseURL: bunq.Sandbox.BaseURL(), UserAgent: "test/1", Transport: bunqtest.Transport(api), Limiter: limiter,
	}, session.Config{
		Environment: bunq.Sandbox,
		APIKey:      func() (string, error) { return key, nil },
		ContextFile: filepath.Join(a.folder, "bunq.conf"),
		Description: "bunq_exporter",
		Key:         bunqtest.ClientKey(0),
	}, log.NewLogfmtLogger(a))
	return a
}

// withAccount runs a test in a synctest bubble, with the device servers 1 to newest and an account that watches ids,
// has logged in and read once, and may use all of the rate limit.
func withAccount(
	t *testing.T, options bunqtest.Options, newest int64, ids []int64, f func(*testing.T, *fakeAPI, *account),
) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		api := newAPI(options)
		for id := int64(1); id <= newest; id++ {
			api.AddDeviceServer(1, device(id, bunq.StatusActive))
		}
		a := newAccount(t, api, ids...)
		scrape(t, time.Minute, a).expect(t, 1, "bunq_up", "company")
		time.Sleep(time.Minute)
		api.received()
		f(t, api, a)
	})
}

func (a *account) own() int64 { return a.State().Login.DeviceServerID }

// metrics is a gathered exposition.
type metrics []*dto.MetricFamily

// scrape returns what one scrape of the accounts gathers.
func scrape(t testing.TB, timeout time.Duration, accounts ...*account) metrics {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	return gather(ctx, t, accounts...)
}

func gather(ctx context.Context, t testing.TB, accounts ...*account) metrics {
	t.Helper()
	var all []*collector.Account
	for _, a := range accounts {
		all = append(all, a.Account)
	}
	ch, registry, shown := make(chan prometheus.Metric), prometheus.NewPedanticRegistry(), collected{}
	go func() {
		defer close(ch)
		collector.Scrape(ctx, all).Collect(ch)
	}()
	for metric := range ch {
		shown = append(shown, metric)
	}
	registry.MustRegister(shown)
	families, err := registry.Gather()
	if err != nil {
		t.Error(err)
	}
	return families
}

// collected are metrics with their descriptions, so that the registry checks one against the other.
type collected []prometheus.Metric

func (c collected) Describe(ch chan<- *prometheus.Desc) {
	for _, metric := range c {
		ch <- metric.Desc()
	}
}

func (c collected) Collect(ch chan<- prometheus.Metric) {
	for _, metric := range c {
		ch <- metric
	}
}

// value returns the value of the series with the name and, in that order, all label values; NaN if there is none.
func (m metrics) value(name string, labels ...string) float64 {
	for _, family := range m {
		if family.GetName() != name {
			continue
		}
		for _, metric := range family.GetMetric() {
			var values []string
			for _, label := range metric.GetLabel() {
				values = append(values, label.GetValue())
			}
			if slices.Equal(values, labels) {
				return metric.GetGauge().GetValue() + metric.GetCounter().GetValue()
			}
		}
	}
	return absent
}

func (m metrics) expect(t testing.TB, want float64, name string, labels ...string) {
	t.Helper()
	if got := m.value(name, labels...); got != want && !(math.IsNaN(got) && math.IsNaN(want)) {
		t.Errorf("%s%q is %v, want %v", name, labels, got, want)
	}
}

var absent = math.NaN()

func (m metrics) text(t testing.TB) string {
	t.Helper()
	var text bytes.Buffer
	for _, family := range m {
		_, err := expfmt.MetricFamilyToText(&text, family)
		check(t, err)
	}
	return text.String()
}

func expectGolden(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		check(t, os.WriteFile(path, []byte(text), 0o600))
	}
	golden, err := os.ReadFile(path)
	check(t, err)
	if diff := gocmp.Diff(string(golden), text); diff != "" {
		t.Errorf("%s, -golden +now (go test ./collector -update rewrites the golden files):\n%s", name, diff)
	}
}

// checkExposition compares with a golden file, parses the exposition again and lints it.
func checkExposition(t *testing.T, name, text string) {
	t.Helper()
	expectGolden(t, name+".prom", text)
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
	active, blocked := device(11, bunq.StatusActive), device(12, bunq.StatusBlocked)
	for name, test := range map[string]struct {
		devices []bunq.DeviceServer
		ids     []int64
		known   []int64
		list    string       // in place of the API's
		api     http.Handler // in place of one that works
	}{
		"all_well":       {devices: []bunq.DeviceServer{active, device(12, bunq.StatusActive)}, ids: []int64{11, 12}},
		"id_unknown":     {devices: []bunq.DeviceServer{active}, ids: []int64{11, 99}},
		"one_blocked":    {devices: []bunq.DeviceServer{active, blocked}, ids: []int64{11, 12}},
		"unknown_status": {devices: []bunq.DeviceServer{device(11, "HIBERNATING")}, ids: []int64{11}},
		"unexpected": {
			devices: []bunq.DeviceServer{active, device(12, bunq.StatusObsolete), device(13, bunq.StatusBlocked)},
			ids:     []int64{11}, known: []int64{13},
		},
		"hostile": {ids: []int64{11}, list: list(0, object(21), object(21), `{"DeviceServer":{"id":11,
			"created":"yesterday","updated":"2037-12-31 23:59:59.999999",
			"description":"caf`+"\xe9"+` \ud800 \u0000 \n\"","ip":"","status":"ODD`+"\xff"+`"}}`)},
		"api_down": {ids: []int64{11, 12}, api: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "<html>We are down for maintenance.</html>", http.StatusServiceUnavailable)
		})},
		"key_refused": {ids: []int64{11, 12}, api: bunqtest.New(bunqtest.Options{})}, // rejects every key
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				simulated := newAPI(bunqtest.Options{})
				for _, d := range test.devices {
					simulated.AddDeviceServer(1, d)
				}
				if test.list != "" {
					simulated.set(0, on("count=200", simulated.respond(http.StatusOK, test.list)))
				}
				api := cmp.Or[http.Handler](test.api, simulated)
				a := idleAccount(t, "company", apiKey, nil, api, test.ids...)
				if test.known != nil { // a reload also ends the wait for the next login
					a.Reload(collector.Selection{IDs: test.ids, Known: test.known})
				}
				go a.Run(t.Context())
				checkExposition(t, name, scrape(t, 9*time.Second, a).text(t))
			})
		})
	}
}

func TestCallMetrics(t *testing.T) {
	withAccount(t, bunqtest.Options{Warning: "Careful."}, 700, nil, func(t *testing.T, _ *fakeAPI, a *account) {
		m := scrape(t, timeout, a)
		m.expect(t, 3+4+4, "bunq_api_warnings_total", "company")              // of the login and two scrapes
		m.expect(t, 3+3, "bunq_api_rate_limit_wait_seconds_total", "company") // of the fourth pages
		var text bytes.Buffer
		for _, family := range m {
			_, err := expfmt.MetricFamilyToOpenMetrics(&text, family)
			check(t, err)
			for _, metric := range family.GetMetric() {
				if h := metric.GetHistogram(); h != nil && (h.GetSchema() == 0 || len(h.GetBucket()) == 0) {
					t.Errorf("%s is not both native and classic", family.GetName())
				}
			}
		}
		for _, label := range []string{"request_id", "response_id"} {
			if n := strings.Count(text.String(), label+`="`); n != 4 {
				t.Errorf("%d exemplars with a %s, want one for each of 4 operations", n, label)
			}
		}
	})
}
