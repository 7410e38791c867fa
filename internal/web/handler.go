// Package web serves the metrics, the HTTP service discovery, the lifecycle endpoints and the pages for people.
package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"bunq_exporter/collector"
)

// Options configure a [Handler].
type Options struct {
	Configuration func() Configuration // the one in use
	Exporter      *prometheus.Registry // the exporter's own metrics
	Requests      *prometheus.Registry // metrics about the requests for metrics; may be Exporter
	TelemetryPath string               // such as /metrics
	TimeoutOffset time.Duration        // subtracted from the scrape timeout
	Reload        func() error         // nil: POST /-/reload is forbidden
	Version       string               // of the exporter
	Logger        log.Logger
	ErrorLog      promhttp.Logger // errors of the exposition
}

// Configuration is a loaded configuration.
type Configuration struct {
	Accounts []*collector.Account
	Loaded   time.Time
	Err      error // of a later reload, which failed; nil if there is none
}

// Handler serves all paths of the exporter.
type Handler struct {
	Options
	routes   http.Handler
	stopping atomic.Bool
	inFlight atomic.Int64  // requests
	encoding chan struct{} // has an element for each answer that is being encoded
}

// maxInFlight is how many requests are answered at once. Two Prometheus servers that scrape 1,000 accounts each minute
// have 330 in flight while bunq needs 10 s for each.
const maxInFlight = 500

const exporterMetricsPath = "/metrics/exporter"

// New returns a handler. A telemetry path that cannot be used is an error.
func New(options Options) (*Handler, error) {
	mux := http.NewServeMux()
	h := &Handler{Options: options, routes: http.NewCrossOriginProtection().Handler(mux)}
	h.encoding = make(chan struct{}, 2) // so that a small answer need not wait for a large one
	// The mux would take other characters for a wildcard, and panics at paths with . and .. in them.
	valid := path.Clean(options.TelemetryPath) == options.TelemetryPath &&
		regexp.MustCompile(`^(/[A-Za-z0-9._~-]+)+$`).MatchString(options.TelemetryPath)
	for pattern, route := range map[string]http.HandlerFunc{ // GET includes HEAD
		"GET /{$}":                   h.page("landing.html", "Overview"),
		"GET /docs/runbooks.md":      h.page("runbooks.html", "Runbooks"), // as in the repository, for links of alerts
		"GET " + exporterMetricsPath: promhttp.InstrumentMetricHandler(h.Requests, h.expose(h.Exporter)).ServeHTTP,
		"GET /probe":                 h.probe,
		"GET /sd":                    h.discovery,
		"GET /status":                h.page("status.html", "Status"),
		"GET /-/healthy":             h.healthy,
		"GET /-/ready":               h.ready,
		"POST /-/reload":             h.reload,
	} {
		valid = valid && !strings.HasSuffix(pattern, " "+options.TelemetryPath)
		mux.HandleFunc(pattern, route)
	}
	if !valid {
		return nil, fmt.Errorf("invalid telemetry path %q: use a free path such as /metrics", options.TelemetryPath)
	}
	mux.Handle("GET "+options.TelemetryPath, promhttp.InstrumentMetricHandler(h.Requests, http.HandlerFunc(h.metrics)))
	return h, nil
}

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	defer h.inFlight.Add(-1)
	if h.inFlight.Add(1) > maxInFlight && !strings.HasPrefix(r.URL.Path, "/-/") { // health checks and reloads go on
		http.Error(w, "Too many requests at once. Try again later.", http.StatusServiceUnavailable)
		return
	}
	h.routes.ServeHTTP(w, r)
}

// Stop makes the exporter report that it is not ready.
func (h *Handler) Stop() { h.stopping.Store(true) }

func (h *Handler) healthy(w http.ResponseWriter, _ *http.Request) {
	_, _ = fmt.Fprintln(w, "bunq_exporter is healthy.")
}

func (h *Handler) ready(w http.ResponseWriter, _ *http.Request) {
	if h.stopping.Load() {
		http.Error(w, "bunq_exporter is shutting down.", http.StatusServiceUnavailable)
		return
	}
	_, _ = fmt.Fprintln(w, "bunq_exporter is ready.")
}

func (h *Handler) reload(w http.ResponseWriter, _ *http.Request) {
	if h.Reload == nil {
		http.Error(w, "Reloads over HTTP are disabled: see --web.enable-lifecycle.", http.StatusForbidden)
		return
	}
	if err := h.Reload(); err != nil {
		http.Error(w, "Failed to reload configuration:\n"+err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = fmt.Fprintln(w, "Reloaded configuration.")
}

// discovery serves the targets in the format of Prometheus's HTTP service discovery: one for each account and one for
// the exporter itself. Each has an instance of its own.
func (h *Handler) discovery(w http.ResponseWriter, r *http.Request) {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	var groups []map[string]any
	add := func(instance string, labels map[string]string) {
		labels["__scheme__"], labels["instance"] = scheme, instance
		labels["__always_scrape_classic_histograms__"] = "true" // for the alerts; known to Prometheus 3.13 and later
		groups = append(groups, map[string]any{"targets": []string{r.Host}, "labels": labels})
	}
	add(r.Host, map[string]string{"__metrics_path__": exporterMetricsPath})
	for _, a := range h.Configuration().Accounts {
		add(r.Host+"/"+a.Name(), map[string]string{"__metrics_path__": "/probe", "__param_account": a.Name()})
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(groups) // fails only if the client is gone
}
