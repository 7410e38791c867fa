package web_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
	"bunq_exporter/collector"
	"bunq_exporter/web"
)

const markup = `<script>alert("x")</script>`

// newAccount returns an account of an API that has one device server, 11.
func newAccount(t *testing.T, name string, wrap func(*bunqtest.Server) http.Handler) (*collector.Account, *bunqtest.Server) {
	t.Helper()
	api, err := bunqtest.New(bunqtest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	api.AddUser(bunqtest.User{ID: 1, Kind: "UserPerson", APIKey: "sandbox_key", SessionTimeout: time.Hour})
	now := time.Now()
	api.AddDeviceServer(1, bunq.DeviceServer{
		ID: 11, Created: now.Add(-49 * time.Hour), Updated: now.Add(-3 * time.Hour), Description: markup, IP: "192.0.2.7", Status: bunq.StatusBlocked,
	})
	api.AddDeviceServer(1, bunq.DeviceServer{ID: 12, Created: now, Updated: now, Description: "nobody's", IP: "192.0.2.8", Status: bunq.StatusActive})
	account, err := collector.NewAccount(name, []int64{11, 99}, bunq.Config{
		Environment: bunq.Sandbox,
		APIKey:      func() (string, error) { return "sandbox_key", nil },
		ContextFile: filepath.Join(t.TempDir(), "bunq.conf"),
		Description: "bunq_exporter",
		UserAgent:   "bunq_exporter/test",
		Transport:   bunqtest.Transport(wrap(api)),
	}, log.NewNopLogger())
	if err != nil {
		t.Fatal(err)
	}
	return account, api
}

func working(api *bunqtest.Server) http.Handler { return api }

func hanging(*bunqtest.Server) http.Handler {
	return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
}

// newHandler returns the routes over the accounts, with options changed by change.
func newHandler(t *testing.T, change func(*web.Options), accounts ...*collector.Account) *web.Handler {
	t.Helper()
	exporter := prometheus.NewRegistry()
	exporter.MustRegister(collectors.NewGoCollector())
	options := web.Options{
		Accounts:      func() []*collector.Account { return accounts },
		Exporter:      exporter,
		Instrument:    true,
		TelemetryPath: "/metrics",
		TimeoutOffset: 500 * time.Millisecond,
		Limits:        func() []bunq.Use { return nil },
		Runbooks:      []byte("# Runbooks\n\n## BunqDeviceServerBlocked\n\nAsk `bunq`.\n"),
		Version:       "1.2.3",
		Logger:        log.NewNopLogger(),
	}
	if change != nil {
		change(&options)
	}
	handler, err := web.New(options)
	if err != nil {
		t.Fatal(err)
	}
	return handler
}

// ask returns the answer to a request with the headers, given as name and value in turn.
func ask(t *testing.T, handler http.Handler, method, target string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w
}

func TestScrapeEndsWithinTheScrapersTimeout(t *testing.T) {
	for _, test := range []struct {
		header string
		want   time.Duration
	}{
		{"3", 2500 * time.Millisecond},
		{"10.5", 10 * time.Second},
		{"", 9500 * time.Millisecond},
		{"soon", 9500 * time.Millisecond},
		{"-1", 9500 * time.Millisecond},
		{"NaN", 9500 * time.Millisecond},
		{"+Inf", 9500 * time.Millisecond},
		{"0.6", 300 * time.Millisecond},
		{"1e300", 10*time.Minute - 500*time.Millisecond},
	} {
		t.Run(test.header, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				account, _ := newAccount(t, "company", hanging)
				handler := newHandler(t, nil, account)
				begun := time.Now()
				w := ask(t, handler, http.MethodGet, "/metrics", "X-Prometheus-Scrape-Timeout-Seconds", test.header)
				if took := time.Since(begun); took != test.want {
					t.Errorf("took %v, want %v", took, test.want)
				}
				if w.Code != http.StatusOK {
					t.Errorf("status %d, want 200", w.Code)
				}
				for _, want := range []string{
					`bunq_up{account="company"} 0`,
					`bunq_api_request_errors_total{account="company",endpoint="installation",method="POST",reason="timeout"} 1`,
				} {
					if !strings.Contains(w.Body.String(), want+"\n") {
						t.Errorf("the answer lacks %s", want)
					}
				}
			})
		})
	}
}

func TestProbeShowsOneAccountAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, firstAPI := newAccount(t, "first", working)
		second, _ := newAccount(t, "second", working)
		handler := newHandler(t, nil, first, second)
		w := ask(t, handler, http.MethodGet, "/probe?account=second")
		text := w.Body.String()
		if w.Code != http.StatusOK || !strings.Contains(text, `bunq_up{account="second"} 1`) {
			t.Errorf("status %d, answer:\n%s", w.Code, text)
		}
		if strings.Contains(text, `account="first"`) || strings.Contains(text, "go_goroutines") {
			t.Error("the answer shows more than the account")
		}
		if n := firstAPI.Requests(bunq.ListDeviceServers); n != 0 {
			t.Errorf("the other account was read %d times", n)
		}
		for target, want := range map[string]int{"/probe": 400, "/probe?account=": 400, "/probe?account=third": 404} {
			if w := ask(t, handler, http.MethodGet, target); w.Code != want || !strings.Contains(w.Body.String(), "account") {
				t.Errorf("%s answers %d %q, want %d and a sentence", target, w.Code, w.Body, want)
			}
		}
	})
}

func TestMetricsShowAllAccountsAndTheExporterItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, _ := newAccount(t, "first", working)
		second, _ := newAccount(t, "second", working)
		text := ask(t, newHandler(t, nil, first, second), http.MethodGet, "/metrics").Body.String()
		for _, want := range []string{`bunq_up{account="first"} 1`, `bunq_up{account="second"} 1`, "go_goroutines ", "promhttp_metric_handler_requests_in_flight 1"} {
			if !strings.Contains(text, want) {
				t.Errorf("the answer lacks %s", want)
			}
		}
		quiet := newHandler(t, func(o *web.Options) { o.Instrument, o.Exporter = false, prometheus.NewRegistry() }, first)
		text = ask(t, quiet, http.MethodGet, "/metrics").Body.String()
		for _, unwanted := range []string{"go_", "process_", "promhttp_"} {
			if strings.Contains(text, "\n"+unwanted) {
				t.Errorf("the answer has %s* although it is to be left out", unwanted)
			}
		}
	})
}

func TestOpenMetricsCarriesExemplars(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		account, _ := newAccount(t, "company", working)
		w := ask(t, newHandler(t, nil, account), http.MethodGet, "/metrics", "Accept", "application/openmetrics-text;version=1.0.0")
		if !strings.Contains(w.Body.String(), `response_id="`) || !strings.HasSuffix(w.Body.String(), "# EOF\n") {
			t.Errorf("no OpenMetrics with exemplars: %s", w.Header().Get("Content-Type"))
		}
	})
}

func TestServiceDiscoveryHasATargetForEachAccount(t *testing.T) {
	first, _ := newAccount(t, "first", working)
	second, _ := newAccount(t, "second", working)
	w := ask(t, newHandler(t, nil, first, second), http.MethodGet, "https://exporter.example:10059/sd")
	var got []map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	group := func(account string) map[string]any {
		return map[string]any{"targets": []any{"exporter.example:10059"}, "labels": map[string]any{
			"__scheme__": "https", "__metrics_path__": "/probe", "__param_account": account,
		}}
	}
	if diff := cmp.Diff([]map[string]any{group("first"), group("second")}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got := w.Header().Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type %s: Prometheus takes application/json only", got)
	}
	if none := ask(t, newHandler(t, nil), http.MethodGet, "/sd").Body.String(); none != "[]\n" {
		t.Errorf("without accounts: %q, want an empty list", none)
	}
}

func TestLifecycle(t *testing.T) {
	var reloaded error
	handler := newHandler(t, func(o *web.Options) { o.Reload = func() error { return reloaded } })
	steps := []struct {
		method, path string
		before       func()
		status       int
		text         string
	}{
		{http.MethodGet, "/-/healthy", nil, 200, "healthy"},
		{http.MethodGet, "/-/ready", nil, 200, "ready"},
		{http.MethodPost, "/-/reload", nil, 200, "reloaded"},
		{http.MethodGet, "/-/reload", nil, 405, ""},
		{http.MethodPost, "/-/reload", func() { reloaded = errors.New("config.yml:3: wrong") }, 500, "config.yml:3: wrong"},
		{http.MethodGet, "/-/ready", func() { handler.Stop() }, 503, "shutting down"},
		{http.MethodGet, "/-/healthy", nil, 200, "healthy"},
		{http.MethodGet, "/nothing", nil, 404, ""},
	}
	for _, step := range steps {
		if step.before != nil {
			step.before()
		}
		w := ask(t, handler, step.method, step.path)
		if w.Code != step.status || !strings.Contains(w.Body.String(), step.text) {
			t.Errorf("%s %s answers %d %q, want %d with %q", step.method, step.path, w.Code, w.Body, step.status, step.text)
		}
	}
	if w := ask(t, newHandler(t, nil), http.MethodPost, "/-/reload"); w.Code != 403 || !strings.Contains(w.Body.String(), "--web.enable-lifecycle") {
		t.Errorf("reloading without leave answers %d %q, want 403 and how to allow it", w.Code, w.Body)
	}
}

func TestUnusableTelemetryPathsAreRefused(t *testing.T) {
	for _, path := range []string{"", "/", "metrics", "/status", "/docs/runbooks.md", "/-/ready", "/-/reload", "/a b", "/{id}", "/metrics/"} {
		if _, err := web.New(web.Options{TelemetryPath: path}); err == nil || !strings.Contains(err.Error(), "/metrics") {
			t.Errorf("%q: %v, want an error with an example", path, err)
		}
	}
}

// broken is a collector whose metric cannot be shown.
type broken struct{ prometheus.Collector }

func (broken) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.NewInvalidMetric(prometheus.NewDesc("broken", "", nil, nil), errors.New("it is broken"))
}

func TestAMetricThatCannotBeShownIsLoggedAndTheRestIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		account, _ := newAccount(t, "company", working)
		var logged bytes.Buffer
		handler := newHandler(t, func(o *web.Options) {
			o.Exporter.MustRegister(broken{collectors.NewBuildInfoCollector()})
			o.Logger = log.NewLogfmtLogger(&logged)
		}, account)
		w := ask(t, handler, http.MethodGet, "/metrics")
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `bunq_up{account="company"} 1`) {
			t.Errorf("status %d, want 200 and the account", w.Code)
		}
		if !strings.Contains(logged.String(), "it is broken") {
			t.Errorf("logged %q", logged.String())
		}
	})
}
