package app

import (
	"io"
	"log/slog"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog/diode"
	sloggokit "github.com/tjhop/slog-gokit"
)

// newLoggers returns one log in two forms: go-kit's for the exporter, and slog's for the exporter-toolkit, which adds
// time and caller itself.
func newLoggers(o options, writer io.Writer) (log.Logger, *slog.Logger) {
	logger := log.NewLogfmtLogger(writer)
	if o.logFormat == "json" {
		logger = log.NewJSONLogger(writer)
	}
	logger = level.NewFilter(logger, level.Allow(level.ParseDefault(o.logLevel, level.InfoValue())))
	return log.With(logger, "time", log.DefaultTimestampUTC, "caller", log.DefaultCaller),
		slog.New(sloggokit.NewGoKitHandler(logger, slog.LevelDebug))
}

// logQueue is the number of lines that wait for a log that blocks; older ones are dropped. logPoll is how often an empty
// queue is looked at: without it, diode may leave a line there until the next one comes.
const logQueue, logPoll = 1000, 50 * time.Millisecond

// newLogWriter returns a writer that never blocks: a log that does must not delay anything else. Flush waits until the
// lines are written, but not for a log that blocks.
func newLogWriter(w io.Writer) (writer io.Writer, dropped prometheus.Counter, flush func()) {
	dropped = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "bunq_exporter_log_lines_dropped_total", Help: "Number of log lines dropped because the log blocked.",
	})
	queue := diode.NewWriter(struct{ io.Writer }{w}, logQueue, logPoll, func(lines int) { dropped.Add(float64(lines)) })
	return queue, dropped, func() {
		written := make(chan struct{})
		go func() {
			_ = queue.Close()
			close(written)
		}()
		select {
		case <-written:
		case <-time.After(time.Second):
		}
	}
}
