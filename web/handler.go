package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"bunq_exporter/bunq"
	"bunq_exporter/collector"
)

// Options are what the routes show and do.
type Options struct {
	Accounts      func() []*collector.Account // that are configured now
	Exporter      *prometheus.Registry        // the exporter's own metrics
	Instrument    bool                        // whether requests for metrics are counted among them
	TelemetryPath string
	TimeoutOffset time.Duration     // taken off the scraper's timeout
	Reload        func() error      // nil: POST /-/reload is refused
	Limits        func() []bunq.Use // how far bunq's limits are used up
	Runbooks      []byte            // in Markdown: what to do about each alert
	Version       string
	Logger        log.Logger
}

// Handler is the exporter's [http.Handler].
type Handler struct {
	Options
	mux      *http.ServeMux
	stopping atomic.Bool
}

// runbooksPath is that of the file in the repository: the alerts' links lead to either.
const runbooksPath = "/docs/runbooks.md"

// pathPattern leaves out what net/http's router would take for a pattern.
var pathPattern = regexp.MustCompile(`^(/[A-Za-z0-9._~-]+)+$`)

// New returns the handler of all routes. An unusable telemetry path is an error.
func New(options Options) (*Handler, error) {
	h := &Handler{Options: options, mux: http.NewServeMux()}
	usable := pathPattern.MatchString(options.TelemetryPath)
	for pattern, route := range map[string]http.HandlerFunc{
		"GET /{$}":            h.landing,
		"GET " + runbooksPath: h.runbooks,
		"GET /probe":          h.probe,
		"GET /sd":             h.discovery,
		"GET /status":         h.status,
		"GET /-/healthy":      h.healthy,
		"GET /-/ready":        h.ready,
		"POST /-/reload":      h.reload,
	} {
		usable = usable && !strings.HasSuffix(pattern, " "+options.TelemetryPath)
		h.mux.HandleFunc(pattern, route)
	}
	if !usable {
		return nil, fmt.Errorf("the telemetry path %q is not usable: it must look like /metrics and be no path that "+
			"the exporter needs for something else", options.TelemetryPath)
	}
	h.mux.Handle("GET "+options.TelemetryPath, h.instrumented(http.HandlerFunc(h.metrics)))
	return h, nil
}

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	h.mux.ServeHTTP(w, r)
}

func (h *Handler) instrumented(next http.Handler) http.Handler {
	if !h.Instrument {
		return next
	}
	return promhttp.InstrumentMetricHandler(h.Exporter, next)
}

// Stop makes the exporter not ready, so that nobody sends it anything new.
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
		http.Error(w, "Reloading over HTTP is off: start bunq_exporter with --web.enable-lifecycle, or send it a SIGHUP.", http.StatusForbidden)
		return
	}
	if err := h.Reload(); err != nil {
		http.Error(w, "The configuration in use stays:\n"+err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = fmt.Fprintln(w, "The configuration was reloaded.")
}

// discovery answers in the format of Prometheus's HTTP service discovery.
func (h *Handler) discovery(w http.ResponseWriter, r *http.Request) {
	type targetGroup struct {
		Targets []string          `json:"targets"`
		Labels  map[string]string `json:"labels"`
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	groups := []targetGroup{}
	for _, account := range h.Accounts() {
		groups = append(groups, targetGroup{[]string{r.Host}, map[string]string{
			"__scheme__": scheme, "__metrics_path__": "/probe", "__param_account": account.Name(),
		}})
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(groups); err != nil {
		_ = level.Debug(h.Logger).Log("msg", "The answer of /sd was not taken", "err", err)
	}
}

// probe answers for one account.
func (h *Handler) probe(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Query().Get("account")
	if name == "" {
		http.Error(w, "The parameter account is missing: ask for /probe?account=NAME, with a name from the configuration.", http.StatusBadRequest)
		return
	}
	accounts := h.Accounts()
	i := slices.IndexFunc(accounts, func(a *collector.Account) bool { return a.Name() == name })
	if i < 0 {
		http.Error(w, "There is no account of that name in the configuration.", http.StatusNotFound)
		return
	}
	h.scrape(w, r, accounts[i:i+1])
}

func (h *Handler) metrics(w http.ResponseWriter, r *http.Request) {
	h.scrape(w, r, h.Accounts(), h.Exporter)
}
