package app

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	"github.com/prometheus/common/version"
	toolkit "github.com/prometheus/exporter-toolkit/web"

	"bunq_exporter/internal/web"
)

// The limits of the HTTP servers: the exporter's, and that of the simulated API. A scrape sets its own write
// timeout.
const (
	readTimeout     = 10 * time.Second
	writeTimeout    = 30 * time.Second
	idleTimeout     = 5 * time.Minute // longer than scrape intervals, so that scrapers keep their connection
	maxHeaderBytes  = 32 << 10        // Go's limit of 1 MiB for each half-open connection is too much
	scrapeGrace     = time.Second     // for scrapes in flight at shutdown; then they answer with what is known
	shutdownTimeout = 3 * time.Second
)

// serve answers requests until ctx ends. It calls announce with each address that it listens on.
func serve(ctx context.Context, o options, handler *web.Handler, accounts *accounts, reloads <-chan os.Signal,
	announce func(net.Addr), logger log.Logger, toolkitLogger *slog.Logger,
) int {
	scrapes, endScrapes := context.WithCancel(context.Background())
	defer endScrapes()
	server := newServer(handler)
	server.ErrorLog = slog.NewLogLogger(toolkitLogger.Handler(), slog.LevelWarn)
	server.BaseContext = func(l net.Listener) context.Context {
		announce(l.Addr())
		_, _ = daemon.SdNotify(false, daemon.SdNotifyReady) // does nothing unless systemd waits for it
		return scrapes
	}
	_ = level.Info(logger).Log(
		"msg", "Starting bunq_exporter", "version", version.Info(), "build_context", version.BuildContext())
	failed := make(chan error, 1)
	go func() { failed <- toolkit.ListenAndServe(server, o.web, toolkitLogger) }()
	for {
		select {
		case err := <-failed:
			_ = level.Error(logger).Log("msg", "Failed to serve", "err", err)
			return exitFailed
		case <-reloads:
			go func() { _ = accounts.reloadAndLog(ctx) }() // a file that hangs does not delay the shutdown
		case <-ctx.Done():
			_ = level.Info(logger).Log("msg", "Shutting down")
			handler.Stop()
			time.AfterFunc(scrapeGrace, endScrapes)
			shutDown(server, logger)
			return exitOK
		}
	}
}

func newServer(handler http.Handler) *http.Server {
	return &http.Server{
		Handler: handler, ReadHeaderTimeout: readTimeout, ReadTimeout: readTimeout,
		WriteTimeout: writeTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
	}
}

func newHandler(ctx context.Context, o options, accounts *accounts, dropped prometheus.Counter, logger log.Logger,
	toolkitLogger *slog.Logger,
) (*web.Handler, error) {
	exporter := prometheus.NewRegistry()
	exporter.MustRegister(versioncollector.NewCollector("bunq_exporter"), accounts.reloadOK, accounts.reloadAt, dropped)
	requests := prometheus.NewRegistry() // which is not exposed
	if !o.disableExporterMetrics {
		requests = exporter
		exporter.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	}
	var reload func() error
	if o.enableLifecycle {
		reload = func() error { return accounts.reloadAndLog(ctx) }
	}
	return web.New(web.Options{
		Configuration: accounts.configuration, Exporter: exporter, Requests: requests, Reload: reload,
		TelemetryPath: o.telemetryPath, TimeoutOffset: o.timeoutOffset, Version: version.Version,
		Logger: logger, ErrorLog: slog.NewLogLogger(toolkitLogger.Handler(), slog.LevelError),
	})
}

// shutDown waits for requests in flight, but not long for connections that send none, or for slow clients.
func shutDown(server *http.Server, logger log.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		_ = level.Warn(logger).Log("msg", "Closing connections that are still in use", "err", err)
		_ = server.Close()
	}
}
