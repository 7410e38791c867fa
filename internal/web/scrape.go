package web

import (
	"bytes"
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"bunq_exporter/collector"
)

const (
	defaultScrapeTimeout = 10 * time.Second // the default of Prometheus
	maxScrapeTimeout     = 10 * time.Minute // no Prometheus is configured with more
	writeTimeout         = 10 * time.Second // to send the metrics once they are encoded
)

// metrics serves all accounts and the exporter's own metrics.
func (h *Handler) metrics(w http.ResponseWriter, r *http.Request) {
	h.scrape(w, r, h.Configuration().Accounts, h.Exporter)
}

// probe serves one account.
func (h *Handler) probe(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Query().Get("account")
	if name == "" {
		http.Error(w, "Parameter account is missing: use /probe?account=NAME.", http.StatusBadRequest)
		return
	}
	accounts := h.Configuration().Accounts
	i := slices.IndexFunc(accounts, func(a *collector.Account) bool { return a.Name() == name })
	if i < 0 {
		http.Error(w, "The configuration has no account of this name.", http.StatusNotFound)
		return
	}
	h.scrape(w, r, accounts[i:i+1])
}

// scrape reads the accounts and serves what is known when the scrape timeout ends.
func (h *Handler) scrape(w http.ResponseWriter, r *http.Request, accounts []*collector.Account,
	more ...prometheus.Collector) {
	if r.Method == http.MethodHead { // does not call the bunq API
		accounts = nil
	}
	timeout := h.scrapeTimeout(r)
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	// The write timeout of the server is for requests that do not wait for bunq. Not every writer has one.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(timeout + writeTimeout))
	registry := prometheus.NewRegistry() // one for everything: prometheus.Gatherers would check every series twice
	registry.MustRegister(append(more, collector.Scrape(ctx, accounts))...)
	h.expose(registry).ServeHTTP(w, r)
}

// bufferedWriter holds the body of an answer back.
type bufferedWriter struct {
	http.ResponseWriter
	body bytes.Buffer
}

// Write implements [http.ResponseWriter].
func (w *bufferedWriter) Write(text []byte) (int, error) { return w.body.Write(text) }

// expose returns the handler of metrics. Gathered metrics take several times the memory of an answer. So few are encoded
// at once, and none of them waits for a client that does not read.
func (h *Handler) expose(gatherer prometheus.Gatherer) http.Handler {
	metrics := promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{
		ErrorLog:           h.ErrorLog,
		ErrorHandling:      promhttp.ContinueOnError,
		EnableOpenMetrics:  true, // which has exemplars
		DisableCompression: true, // it costs a fifth of the CPU time of a scrape, and 1 MiB of memory
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := bufferedWriter{ResponseWriter: w}
		select {
		case h.encoding <- struct{}{}:
		default: // not at once, and not for a client that is gone
			select {
			case h.encoding <- struct{}{}:
			case <-r.Context().Done():
				return
			}
		}
		metrics.ServeHTTP(&answer, r)
		<-h.encoding
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout))
		_, _ = answer.body.WriteTo(w) // fails only if the client is gone
	})
}

// scrapeTimeout returns the scrape timeout less the offset, but at least half of it.
func (h *Handler) scrapeTimeout(r *http.Request) time.Duration {
	timeout := defaultScrapeTimeout
	seconds, _ := strconv.ParseFloat(r.Header.Get("X-Prometheus-Scrape-Timeout-Seconds"), 64) // 0 where it is no number
	if asked := time.Duration(min(seconds, maxScrapeTimeout.Seconds()) * float64(time.Second)); asked > 0 {
		timeout = asked
	}
	return max(timeout-h.TimeoutOffset, timeout/2)
}
