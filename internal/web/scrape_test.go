package web_test

import (
	"bytes"
	"errors"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
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
			"+Inf":     10*time.Minute - 500*time.Millisecond,
			"1m":       9500 * time.Millisecond,
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
		w := request(handler, "GET", "/metrics", "Accept", "application/openmetrics-text;version=1.0.0")
		expect(t, w.Body.String(), `response_id="`, "# EOF\n") // with exemplars
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

// blockedWriter is that of a client that does not read.
type blockedWriter struct {
	*httptest.ResponseRecorder
	deadline time.Time
}

func (w *blockedWriter) SetWriteDeadline(deadline time.Time) error {
	w.deadline = deadline
	return nil
}

func (w *blockedWriter) Write([]byte) (int, error) {
	time.Sleep(time.Until(w.deadline))
	return 0, os.ErrDeadlineExceeded
}

func TestClientsThatDoNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		account, _ := runAccount(t, "company")
		handler, start := newHandler(t, newOptions(account)), time.Now()
		var clients sync.WaitGroup
		for range 300 {
			clients.Go(func() {
				r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
				r.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", "600")
				handler.ServeHTTP(&blockedWriter{ResponseRecorder: httptest.NewRecorder()}, r)
			})
		}
		synctest.Wait()
		expect(t, get(handler, "/metrics"), `bunq_up{account="company"} 1`, "promhttp_metric_handler_requests_in_flight 301")
		if took := time.Since(start); took > 2*time.Second { // of bunq's rate limit
			t.Errorf("another scrape took %v", took)
		}
		if clients.Wait(); time.Since(start) > 12*time.Second {
			t.Errorf("the clients were given up after %v", time.Since(start))
		}
	})
}

func TestTooManyRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		account, _ := newAccount(t, "company") // a scrape waits for the first login
		handler := newHandler(t, newOptions(account))
		var scrapes sync.WaitGroup
		for i := range 500 {
			scrapes.Go(func() {
				target := []string{"/metrics", "/probe?account=company"}[i%2]
				if w := request(handler, "GET", target); w.Code != http.StatusOK {
					t.Errorf("scrape %d: status %d", i, w.Code)
				}
			})
		}
		synctest.Wait()
		for target, want := range map[string]int{
			"/metrics": 503, "/probe?account=company": 503, "/metrics/exporter": 503, "/status": 503, "/-/healthy": 200,
		} {
			if w := request(handler, "GET", target); w.Code != want {
				t.Errorf("%s: status %d, want %d", target, w.Code, want)
			}
		}
		scrapes.Wait()
		expect(t, get(handler, "/metrics"), `bunq_up{account="company"} 0`)
	})
}

// Gathered metrics take several times the memory of an answer.
func TestTwoAnswersEncodedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		options := newOptions()
		options.Exporter.MustRegister(prometheus.CollectorFunc(func(chan<- prometheus.Metric) { time.Sleep(time.Second) }))
		handler, start := newHandler(t, options), time.Now()
		var scrapes sync.WaitGroup
		for range 20 {
			scrapes.Go(func() { get(handler, "/metrics") })
		}
		if scrapes.Wait(); time.Since(start) != 10*time.Second {
			t.Errorf("20 answers took %v, want 10 s", time.Since(start))
		}
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

func FuzzProbe(f *testing.F) {
	for _, query := range []string{
		"", "account=company", "account=other&account=company", "account=%63ompany", "account=company%00", "account",
		"account=<script>", "account=%zz", "account;company", "account=company#", "ACCOUNT=company", "account=../company",
		"account=%0d%0aX-Evil:+1", "account=\xff",
	} {
		f.Add(query)
	}
	account, _ := newAccount(f, "company")
	handler := newHandler(f, newOptions(account))
	f.Fuzz(func(t *testing.T, query string) {
		r, w := httptest.NewRequest(http.MethodGet, "/probe", nil), httptest.NewRecorder()
		r.URL.RawQuery = query
		r.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", "0.001")
		handler.ServeHTTP(w, r)
		want, text := http.StatusNotFound, "The configuration has no account of this name.\n"
		switch name := r.URL.Query().Get("account"); name {
		case "":
			want, text = http.StatusBadRequest, "Parameter account is missing: use /probe?account=NAME.\n"
		case "company":
			want, text = http.StatusOK, w.Body.String()
			expect(t, text, `bunq_up{account="company"} 0`+"\n")
		}
		isPlain := strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain; ")
		if w.Code != want || w.Body.String() != text || len(w.Header()) > 3 || !isPlain {
			t.Errorf("status %d, %v, %s", w.Code, w.Header(), w.Body)
		}
	})
}
