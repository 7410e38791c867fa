package main

import (
	"context"
	_ "embed"
	"errors"
	stdlog "log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	"github.com/prometheus/common/version"
	toolkit "github.com/prometheus/exporter-toolkit/web"

	"bunq_exporter/web"
)

// The time limits of the servers: the exporter's, and the demo's. A scrape replaces writeTimeout by one of its own.
const (
	readTimeout     = 10 * time.Second // requests have no body to speak of
	writeTimeout    = 30 * time.Second // pages are made at once; the rest is a slow network
	idleTimeout     = 5 * time.Minute  // longer than scrape intervals, so that scrapers keep their connection
	shutdownTimeout = 15 * time.Second // lets a scrape that is under way end
)

// runbooks say what to do about each alert; the exporter shows them, since whoever is woken reaches it.
//
//go:embed docs/runbooks.md
var runbooks []byte

// serve answers requests until ctx ends, then finishes those that are under way. It tells announce where it listens.
func serve(ctx context.Context, o options, watched *watch, announce func(net.Addr), logger log.Logger, toolkitLogger *slog.Logger) int {
	handler, err := newHandler(o, watched, logger)
	if err != nil {
		_ = level.Error(logger).Log("msg", "Cannot start", "err", err)
		return exitUsage
	}
	server := newServer(handler)
	server.ErrorLog = stdlog.New(log.NewStdlibAdapter(level.Warn(logger)), "", 0)
	var once sync.Once
	server.BaseContext = func(l net.Listener) context.Context {
		once.Do(func() { announce(l.Addr()) })
		return context.Background() // not ctx: a scrape under way ends by itself
	}
	_ = level.Info(logger).Log("msg", "Starting bunq_exporter", "version", programVersion(), "build", version.BuildContext())
	failed := make(chan error, 1)
	go func() { failed <- toolkit.ListenAndServe(server, o.web, toolkitLogger) }()
	reloads := make(chan os.Signal, 1)
	signal.Notify(reloads, syscall.SIGHUP)
	defer signal.Stop(reloads)
	for {
		select {
		case err := <-failed:
			_ = level.Error(logger).Log("msg", "Cannot serve", "err", err)
			return exitFailed
		case <-reloads:
			_ = watched.reloadAndLog()
		case <-ctx.Done():
			return shutDown(handler, server, failed, logger)
		}
	}
}

func newServer(handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
	}
}

func newHandler(o options, watched *watch, logger log.Logger) (*web.Handler, error) {
	exporter := prometheus.NewRegistry()
	exporter.MustRegister(versioncollector.NewCollector("bunq_exporter"), watched.reloadOK, watched.reloadTime)
	if !o.disableExporterMetrics {
		exporter.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	}
	var reload func() error
	if o.enableLifecycle {
		reload = watched.reloadAndLog
	}
	return web.New(web.Options{
		Accounts:      watched.current,
		Exporter:      exporter,
		Instrument:    !o.disableExporterMetrics,
		TelemetryPath: o.telemetryPath,
		TimeoutOffset: o.timeoutOffset,
		Reload:        reload,
		Limits:        watched.limiter.Uses,
		Runbooks:      runbooks,
		Version:       programVersion(),
		Logger:        logger,
	})
}

func shutDown(handler *web.Handler, server *http.Server, failed <-chan error, logger log.Logger) int {
	_ = level.Info(logger).Log("msg", "Shutting down")
	handler.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	err := server.Shutdown(ctx)
	if served := <-failed; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	if err != nil {
		_ = level.Error(logger).Log("msg", "The shutdown was not clean", "err", err)
		return exitFailed
	}
	return exitOK
}
