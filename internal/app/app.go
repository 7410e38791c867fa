// Package app is the program: it reads the flags, starts the accounts and serves their metrics.
package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/go-kit/log/level"
	"github.com/prometheus/common/version"
	toolkit "github.com/prometheus/exporter-toolkit/web"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/apicontext"
	"bunq_exporter/internal/config"
)

// The exit statuses.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2 // wrong command line
)

// maxWebConfig bounds the file of --web.config.file, in bytes.
const maxWebConfig = 1 << 20

// Main runs the program until it is interrupted or terminated, and exits. A second signal ends it at once.
func Main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(65) // not 100: memory matters more than the CPU time of a scrape
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	code := Run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// Run is the program without its environment. It returns the exit status when ctx ends.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	reloads := make(chan os.Signal, 1)
	signal.Notify(reloads, syscall.SIGHUP) // first of all: the default is to end the program
	defer signal.Stop(reloads)
	signal.Ignore(syscall.SIGPIPE) // of a log that nobody reads any more

	if info, ok := debug.ReadBuildInfo(); ok { // of a build that was not told its version
		version.Version = cmp.Or(version.Version, info.Main.Version)
	}
	o, code, done := parse(args, stdout, stderr)
	if done {
		return code
	}
	if o.configCheck {
		return check(o, stdout, stderr)
	}
	writer, dropped, flush := newLogWriter(stderr)
	defer flush()
	logger, toolkitLogger := newLoggers(o, writer)
	if err := checkWeb(*o.web.WebConfigFile); err != nil { // before anything is registered
		_, _ = fmt.Fprintln(stderr, err)
		return exitFailed
	}
	load := func() (*config.Config, error) { return config.Load(o.configFile) }
	accounts := newAccounts(load, bunq.NewLimiter(int(o.readLimit)), logger)
	announce := func(net.Addr) {}
	if o.demo {
		demo, err := startDemo(ctx, o.demoListenAddress)
		if err != nil {
			_ = level.Error(logger).Log("msg", "Failed to start the simulated API", "err", err)
			return exitFailed
		}
		defer demo.stop()
		accounts.load = demo.config
		announce = func(exporter net.Addr) {
			_, _ = fmt.Fprintf(stdout, demoText, reachable(exporter), o.telemetryPath, demo.baseURL, demoKey)
			go demo.scrape(ctx, accounts)
		}
	}
	handler, err := newHandler(ctx, o, accounts, dropped, logger, toolkitLogger)
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "bunq_exporter: %s, try --help\n", err)
		return exitUsage
	}
	if err := accounts.reload(ctx); err != nil {
		_, _ = fmt.Fprintln(stderr, err)
		return exitFailed
	}
	return serve(ctx, o, handler, accounts, reloads, announce, logger, toolkitLogger)
}

// check is --config.check.
func check(o options, stdout, stderr io.Writer) int {
	c, err := config.Load(o.configFile)
	for _, warning := range c.Warnings() {
		_, _ = fmt.Fprintln(stderr, "warning:", warning)
	}
	if err := errors.Join(err, c.CheckFiles(), checkWeb(*o.web.WebConfigFile)); err != nil {
		_, _ = fmt.Fprintln(stderr, err)
		return exitFailed
	}
	_, _ = fmt.Fprintf(stdout, "SUCCESS: %s is valid\n", o.configFile)
	return exitOK
}

// checkWeb checks the file of --web.config.file, if there is one.
func checkWeb(path string) error {
	if path == "" {
		return nil
	}
	_, err := apicontext.ReadFile(path, maxWebConfig) // exporter-toolkit would wait for a named pipe
	if err == nil {
		err = toolkit.Validate(path)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
