package web

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"bunq_exporter/collector"
)

const (
	// defaultScrapeTimeout is Prometheus's own default, for scrapers that do not say theirs.
	defaultScrapeTimeout = 10 * time.Second
	// maxScrapeTimeout keeps a nonsensical header from holding a scrape for ever.
	maxScrapeTimeout = 10 * time.Minute
	// writeGrace is for writing the exposition, once bunq is read.
	writeGrace = 10 * time.Second
)

// scrape reads the accounts within the scraper's time and answers 200 with what is known then.
func (h *Handler) scrape(w http.ResponseWriter, r *http.Request, accounts []*collector.Account, more ...prometheus.Collector) {
	timeout := h.scrapeTimeout(r)
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	// The server's own limit is for requests that read nothing. A writer without deadlines has none to lift.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(timeout + writeGrace))

	registry := prometheus.NewRegistry() // one for all: merging two would go through every series again
	for _, c := range append(more, collector.Scrape(ctx, accounts)) {
		if err := registry.Register(c); err != nil {
			_ = level.Error(h.Logger).Log("msg", "Cannot collect the accounts", "err", err)
		}
	}
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog:          errorLog{h.Logger},
		ErrorHandling:     promhttp.ContinueOnError,
		EnableOpenMetrics: true, // exemplars travel in it
	}).ServeHTTP(w, r)
}

// scrapeTimeout is the scraper's timeout less the offset, or half of a timeout that the offset would eat up.
func (h *Handler) scrapeTimeout(r *http.Request) time.Duration {
	timeout := defaultScrapeTimeout
	seconds, err := strconv.ParseFloat(r.Header.Get("X-Prometheus-Scrape-Timeout-Seconds"), 64)
	if err == nil && seconds > 0 && !math.IsInf(seconds, 1) {
		timeout = time.Duration(min(seconds, maxScrapeTimeout.Seconds()) * float64(time.Second))
	}
	return max(timeout-h.TimeoutOffset, timeout/2)
}

// errorLog is promhttp's logger: it tells of metrics that could not be shown.
type errorLog struct{ logger log.Logger }

// Println implements [promhttp.Logger].
func (l errorLog) Println(v ...any) {
	_ = level.Error(l.logger).Log("msg", "A metric could not be shown", "err", fmt.Sprint(v...))
}
