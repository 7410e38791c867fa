// Command bunq_exporter tells Prometheus what bunq says of your device servers.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/common/version"
	toolkit "github.com/prometheus/exporter-toolkit/web"
	"github.com/prometheus/exporter-toolkit/web/kingpinflag"
	sloggokit "github.com/tjhop/slog-gokit"

	"bunq_exporter/config"
)

// The exit statuses.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2 // wrong flags or configuration
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// programVersion is what the build was told, or a word for a build that was told nothing.
func programVersion() string { return cmp.Or(version.Version, "devel") }

// options are the command line.
type options struct {
	configFile             string
	configCheck            bool
	demo                   bool
	demoListenAddress      string
	telemetryPath          string
	enableLifecycle        bool
	disableExporterMetrics bool
	timeoutOffset          time.Duration
	logLevel, logFormat    string
	web                    *toolkit.FlagConfig
}

// parse reads the flags. Done says that there is nothing left to do, and with which exit status.
func parse(args []string, stdout, stderr io.Writer) (o options, done bool, code int) {
	app := kingpin.New("bunq_exporter", "Tells Prometheus what bunq says of your device servers.").
		UsageWriter(stdout).ErrorWriter(stderr).DefaultEnvars().
		Terminate(func(status int) { done, code = true, status })
	app.HelpFlag.Short('h').NoEnvar()
	app.Version(version.Print("bunq_exporter")).VersionFlag.NoEnvar()
	app.Flag("config.file", "The accounts to watch.").Default("config.yml").StringVar(&o.configFile)
	app.Flag("config.check", "Check the configuration and the web configuration, print what is wrong with them, and exit.").BoolVar(&o.configCheck)
	app.Flag("demo", "Start a simulated bunq API, and watch it: needs no configuration, no key and no network.").BoolVar(&o.demo)
	app.Flag("demo.listen-address", "Where the simulated API listens.").Default("127.0.0.1:0").StringVar(&o.demoListenAddress)
	o.web = kingpinflag.AddFlags(app, ":10059")
	app.Flag("web.telemetry-path", "Path of the metrics.").Default("/metrics").StringVar(&o.telemetryPath)
	app.Flag("web.enable-lifecycle", "Allow POST /-/reload.").BoolVar(&o.enableLifecycle)
	app.Flag("web.disable-exporter-metrics", "Leave out go_*, process_* and promhttp_*.").BoolVar(&o.disableExporterMetrics)
	app.Flag("scrape.timeout-offset", "Taken off the scraper's timeout, for the way there and back.").Default("0.5s").DurationVar(&o.timeoutOffset)
	app.Flag("log.level", "Only log what is at least this severe.").Default("info").EnumVar(&o.logLevel, "debug", "info", "warn", "error")
	app.Flag("log.format", "Format of the log.").Default("logfmt").EnumVar(&o.logFormat, "logfmt", "json")
	_, err := app.Parse(args)
	if done {
		return o, done, code
	}
	if err == nil && o.timeoutOffset < 0 {
		err = errors.New("--scrape.timeout-offset must not be negative")
	}
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "bunq_exporter: %s, try --help\n", err)
		return o, true, exitUsage
	}
	return o, false, exitOK
}

// run is the whole program. It ends when ctx does.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, done, code := parse(args, stdout, stderr)
	if done {
		return code
	}
	if o.configCheck {
		return check(o, stdout, stderr)
	}
	logger, toolkitLogger := newLoggers(o, stderr)
	if err := checkWebConfig(o); err != nil {
		_, _ = fmt.Fprintln(stderr, err)
		return exitUsage
	}
	load := func() (*config.Config, error) { return config.Load(o.configFile) }
	announce := func(net.Addr) {}
	if o.demo {
		demo, err := startDemo(ctx, o.demoListenAddress)
		if err != nil {
			_ = level.Error(logger).Log("msg", "Cannot start the simulated API", "err", err)
			return exitFailed
		}
		defer demo.stop()
		load = demo.config
		announce = func(exporter net.Addr) { demo.announce(stdout, exporter, o.telemetryPath) }
	}
	watched := newWatch(load, logger)
	if err := watched.reload(); err != nil {
		_, _ = fmt.Fprintln(stderr, err)
		return exitUsage
	}
	return serve(ctx, o, watched, announce, logger, toolkitLogger)
}

// check is --config.check.
func check(o options, stdout, stderr io.Writer) int {
	_, err := config.Load(o.configFile)
	if err := errors.Join(err, checkWebConfig(o)); err != nil {
		_, _ = fmt.Fprintln(stderr, err)
		return exitFailed
	}
	_, _ = fmt.Fprintf(stdout, "SUCCESS: %s is valid\n", o.configFile)
	return exitOK
}

func checkWebConfig(o options) error {
	if err := toolkit.Validate(*o.web.WebConfigFile); err != nil {
		return fmt.Errorf("%s: %w", *o.web.WebConfigFile, err)
	}
	return nil
}

// newLoggers returns one log in two forms: go-kit's for the exporter, slog's for the toolkit, which adds time and caller
// itself.
func newLoggers(o options, stderr io.Writer) (log.Logger, *slog.Logger) {
	writer := log.NewSyncWriter(stderr)
	logger := log.NewLogfmtLogger(writer)
	if o.logFormat == "json" {
		logger = log.NewJSONLogger(writer)
	}
	logger = level.NewFilter(logger, level.Allow(level.ParseDefault(o.logLevel, level.InfoValue())))
	return log.With(logger, "time", log.DefaultTimestampUTC, "caller", log.DefaultCaller),
		slog.New(sloggokit.NewGoKitHandler(logger, slog.LevelDebug))
}
