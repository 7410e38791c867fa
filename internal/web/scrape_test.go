package web_test

import (
	"bytes"
	"errors"
	"log"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"bunq_exporter/bunq"
)

func TestScrapeTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		account, _ := newAccount(t, "company") // a scrape waits for the first login
		handler := newHandler(t, newOptions(account))
		for header, want := range map[string]time.Duration{
			"3":        2500 * time.Millisecond,
			"10.5":     10 * time.Second,
			"0.6":      300 * time.Millisecond,
			"31536000": 10*time.Minute - 500*time.Millisecond,
			"":         9500 * time.Millisecond,
			"soon":     9500 * time.Millisecond,
			"-1":       9500 * time.Millisecond,
			"+Inf":     9500 * time.Millisecond,
		} {
			start := time.Now()
			w := request(handler, "GET", "/metrics", "X-Prometheus-Scrape-Timeout-Seconds", header)
			if took := time.Since(start); took != want || w.Code != 200 {
				t.Errorf("%q: status %d after %v, want 200 after %v", header, w.Code, took, want)
			}
			expect(t, w.Body.String(), `bunq_up{account="company"} 0`+"\n")
		}
	})
}

func TestMetricsOfEachPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, _ := runAccount(t, "first")
		second, _ := runAccount(t, "second")
		handler := newHandler(t, newOptions(first, second))
		metrics := []string{`bunq_up{account="first"} 1`, `bunq_up{account="second"} 1`, "promhttp_"}
		for target, want := range map[string][]bool{
			"/metrics":              {true, true, true},
			"/metrics/exporter":     {false, false, true},
			"/probe?account=second": {false, true, false},
		} {
			body := get(handler, target)
			for i, metric := range metrics {
				if got := strings.Contains(body, metric); got != want[i] {
					t.Errorf("%s: %s is %t, want %t", target, metric, got, want[i])
				}
			}
		}
	})
}

func TestHeadReadsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		account, api := runAccount(t, "company")
		handler := newHandler(t, newOptions(account))
		for target, want := range map[string]int{
			"/metrics": 200, "/metrics/exporter": 200,
			"/probe?account=company": 200, "/probe?account=": 400, "/probe": 400, "/probe?account=other": 404,
		} {
			w := request(handler, "HEAD", target)
			if got := w.Header().Get("Content-Type"); w.Code != want || !strings.HasPrefix(got, "text/plain;") {
				t.Errorf("%s: status %d, Content-Type %s, want %d", target, w.Code, got, want)
			}
		}
		if n := api.Requests(bunq.ListDeviceServers); n != 0 || !account.State().Result.Start.IsZero() {
			t.Errorf("%d requests", n)
		}
	})
}

func TestOpenMetricsHasExemplars(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		account, _ := runAccount(t, "company")
		const accept = "application/openmetrics-text;version=1.0.0"
		w := request(newHandler(t, newOptions(account)), "GET", "/metrics", "Accept", accept)
		expect(t, w.Body.String(), `response_id="`, "# EOF\n")
	})
}

func TestInvalidMetricLogged(t *testing.T) {
	var logged bytes.Buffer
	options := newOptions()
	options.ErrorLog = log.New(&logged, "", 0)
	options.Exporter.MustRegister(prometheus.CollectorFunc(func(ch chan<- prometheus.Metric) {
		ch <- prometheus.NewInvalidMetric(prometheus.NewDesc("invalid", "", nil, nil), errors.New("invalid metric"))
	}))
	expect(t, get(newHandler(t, options), "/metrics"), "promhttp_")
	expect(t, logged.String(), "invalid metric")
}
