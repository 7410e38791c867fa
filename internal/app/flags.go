package app

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/version"
	toolkit "github.com/prometheus/exporter-toolkit/web"
	"github.com/prometheus/exporter-toolkit/web/kingpinflag"

	"bunq_exporter/bunq"
)

// options are the flags.
type options struct {
	configFile, demoListenAddress, telemetryPath, logLevel, logFormat string
	configCheck, demo, enableLifecycle, disableExporterMetrics        bool

	readLimit     uint8
	timeoutOffset time.Duration
	web           *toolkit.FlagConfig
}

// parse reads the flags. Done reports that there is nothing left to do but to exit with the code.
func parse(args []string, stdout, stderr io.Writer) (o options, code int, done bool) {
	app := kingpin.New("bunq_exporter", "Prometheus exporter for the status of bunq API device servers.").
		UsageWriter(stdout).ErrorWriter(stderr).DefaultEnvars().
		Terminate(func(status int) { code, done = status, true })
	app.HelpFlag.Short('h').NoEnvar()
	app.Version(version.Print("bunq_exporter")).VersionFlag.NoEnvar()
	app.Flag("config.file", "Path to the configuration file.").Default("config.yml").StringVar(&o.configFile)
	app.Flag("config.check", "Validate the configuration and the files it names, and exit.").BoolVar(&o.configCheck)
	app.Flag("demo", "Start a simulated bunq API and watch it, without configuration or network.").BoolVar(&o.demo)
	app.Flag("demo.listen-address", "Simulated API address.").Default("127.0.0.1:0").StringVar(&o.demoListenAddress)
	app.Flag("bunq.read-limit", "Reads within 3 seconds per API host, 1 to 3.").Default("3").Uint8Var(&o.readLimit)
	o.web = kingpinflag.AddFlags(app, ":10059")
	app.Flag("web.telemetry-path", "Path under which to expose metrics.").Default("/metrics").StringVar(&o.telemetryPath)
	app.Flag("web.enable-lifecycle", "Enable reload via HTTP request.").BoolVar(&o.enableLifecycle)
	app.Flag("web.disable-exporter-metrics", "Exclude metrics about the exporter itself (promhttp_*, process_*, go_*).").
		BoolVar(&o.disableExporterMetrics)
	app.Flag("scrape.timeout-offset", "Offset to subtract from the scrape timeout.").
		Default("0.5s").DurationVar(&o.timeoutOffset)
	app.Flag("log.level", "Only log messages with the given severity or above. One of: [debug, info, warn, error]").
		Default("info").EnumVar(&o.logLevel, "debug", "info", "warn", "error")
	app.Flag("log.format", "Output format of log messages. One of: [logfmt, json]").
		Default("logfmt").EnumVar(&o.logFormat, "logfmt", "json")
	_, err := app.Parse(args)
	switch {
	case done:
		return o, code, true
	case err != nil:
	case o.timeoutOffset < 0:
		err = errors.New("--scrape.timeout-offset must not be negative")
	case o.readLimit < 1 || o.readLimit > bunq.MaxReads:
		err = fmt.Errorf("--bunq.read-limit must be from 1 to %d", bunq.MaxReads)
	}
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "bunq_exporter: %s, try --help\n", err)
		return o, exitUsage, true
	}
	return o, exitOK, false
}
