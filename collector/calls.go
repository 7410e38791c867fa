package collector

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"bunq_exporter/bunq"
)

// calls are the metrics of one account's API calls. They belong to the account, so that they end with it when it is
// removed from the configuration.
type calls struct {
	*prometheus.Registry // of the following

	requests *prometheus.CounterVec
	errors   *prometheus.CounterVec
	duration *prometheus.HistogramVec
	waits    prometheus.Counter
	warnings prometheus.Counter

	mu       sync.Mutex
	failures map[bunq.Reason]Failure
}

// Failure is the last failed API call of one reason.
type Failure struct {
	Time       time.Time
	Err        *bunq.Error
	ResponseID string // the last one that bunq sent with this reason
	Count      int    // of failures with this reason
}

func newCalls(account string) *calls {
	labels := prometheus.Labels{"account": account}
	counter := func(name, help string, variable ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels}, variable)
	}
	c := &calls{
		Registry: prometheus.NewRegistry(),
		requests: counter("bunq_api_requests_total",
			"Number of API requests by status code of the answer; code none is no answer.", "method", "endpoint", "code"),
		errors: counter("bunq_api_request_errors_total",
			"Number of API requests that failed or were not sent, by reason.", "method", "endpoint", "reason"),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:        "bunq_api_request_duration_seconds",
			Help:        "Time from an API request to its answer, read and verified.",
			ConstLabels: labels, Buckets: []float64{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}, // no read takes longer
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
		}, []string{"method", "endpoint"}),
		waits: counter("bunq_api_rate_limit_wait_seconds_total",
			"Time that API requests waited for the rate limit.").WithLabelValues(),
		warnings: counter("bunq_api_warnings_total",
			"Number of answers with an X-Bunq-Warning header.").WithLabelValues(),
		failures: map[bunq.Reason]Failure{},
	}
	c.MustRegister(c.requests, c.errors, c.duration, c.waits, c.warnings)
	// These series exist at 0 from the start: an alert on an increase misses the first error of a new series.
	for _, o := range []bunq.Operation{bunq.ListDeviceServers, bunq.CreateSessionServer} {
		for _, code := range []string{"200", "429", "none"} {
			c.requests.WithLabelValues(o.Method, o.Endpoint, code)
		}
		for _, reason := range bunq.Reasons {
			c.errors.WithLabelValues(o.Method, o.Endpoint, string(reason))
		}
		c.duration.WithLabelValues(o.Method, o.Endpoint)
	}
	return c
}

// observe counts a call.
func (c *calls) observe(call bunq.Call) {
	c.waits.Add(call.Waited.Seconds())
	if call.Err != nil {
		c.errors.WithLabelValues(call.Method, call.Endpoint, string(call.Err.Reason)).Inc()
		c.mu.Lock()
		before := c.failures[call.Err.Reason]
		id := cmp.Or(call.ResponseID, before.ResponseID)
		c.failures[call.Err.Reason] = Failure{time.Now(), call.Err, id, before.Count + 1}
		c.mu.Unlock()
	}
	if call.RequestID == "" { // not sent
		return
	}
	code := "none"
	if call.StatusCode != 0 {
		code = strconv.Itoa(call.StatusCode)
	}
	c.requests.WithLabelValues(call.Method, call.Endpoint, code).Inc()
	if call.Warning != "" {
		c.warnings.Inc()
	}
	ids := prometheus.Labels{"request_id": call.RequestID}
	if call.ResponseID != "" {
		ids["response_id"] = call.ResponseID
	}
	c.duration.WithLabelValues(call.Method, call.Endpoint).(prometheus.ExemplarObserver).
		ObserveWithExemplar(call.Duration.Seconds(), ids)
}

// Failures returns the last failed call of each reason, newest first.
func (a *Account) Failures() []Failure {
	a.calls.mu.Lock()
	defer a.calls.mu.Unlock()
	return slices.SortedFunc(maps.Values(a.calls.failures), func(a, b Failure) int {
		return cmp.Or(b.Time.Compare(a.Time), cmp.Compare(a.Err.Reason, b.Err.Reason))
	})
}
