package collector

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"bunq_exporter/bunq"
)

// callMetrics count the API calls of one account. They belong to it, so that they end with it when it leaves the
// configuration.
type callMetrics struct {
	requests *prometheus.CounterVec
	errors   *prometheus.CounterVec
	duration *prometheus.HistogramVec
	waits    prometheus.Counter
	warnings prometheus.Counter
	failures failures
}

// durationBuckets are in seconds: bunq answers within a fraction of one, and no scrape waits for more than ten.
var durationBuckets = []float64{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}

func newCallMetrics(account string) *callMetrics {
	labels := prometheus.Labels{"account": account}
	m := &callMetrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name:        "bunq_api_requests_total",
			Help:        "API calls by HTTP method, endpoint and status code of the answer; code none is a call without an answer.",
			ConstLabels: labels,
		}, []string{"method", "endpoint", "code"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name:        "bunq_api_request_errors_total",
			Help:        "API calls without an answer that could be used, by reason: from the status code, error_description and X-Bunq-Server-Signature of the answer; rate_limited are also those that were not sent because their turn would have come too late.",
			ConstLabels: labels,
		}, []string{"method", "endpoint", "reason"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:        "bunq_api_request_duration_seconds",
			Help:        "Time from an API call's request to its answer, verified and read. Exemplars: X-Bunq-Client-Request-Id and X-Bunq-Client-Response-Id, for bunq's support.",
			ConstLabels: labels,
			Buckets:     durationBuckets,

			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  100,
			NativeHistogramMinResetDuration: time.Hour,
		}, []string{"method", "endpoint"}),
		waits: prometheus.NewCounter(prometheus.CounterOpts{
			Name:        "bunq_api_rate_limit_wait_seconds_total",
			Help:        "Time that API calls waited for their turn within bunq's rate limits.",
			ConstLabels: labels,
		}),
		warnings: prometheus.NewCounter(prometheus.CounterOpts{
			Name:        "bunq_api_warnings_total",
			Help:        "Answers with an X-Bunq-Warning header: bunq announces something that may affect API access.",
			ConstLabels: labels,
		}),
		failures: failures{last: map[bunq.Reason]Failure{}},
	}
	for _, o := range bunq.Operations() {
		m.initialise(o)
	}
	return m
}

// initialise makes every series exist at 0: an alert on an increase would miss the first error of a series that is new.
func (m *callMetrics) initialise(o bunq.Operation) {
	for _, code := range []string{"200", "429", "none"} {
		m.requests.WithLabelValues(o.Method, o.Endpoint, code)
	}
	for _, reason := range bunq.Reasons() {
		m.errors.WithLabelValues(o.Method, o.Endpoint, string(reason))
	}
	m.duration.WithLabelValues(o.Method, o.Endpoint)
}

// observe counts a call.
func (m *callMetrics) observe(call bunq.Call) {
	m.waits.Add(call.Waited.Seconds())
	if call.Err != nil {
		m.errors.WithLabelValues(call.Method, call.Endpoint, string(call.Err.Reason)).Inc()
		m.failures.note(call.Err)
	}
	if call.RequestID == "" { // its turn did not come
		return
	}
	code := "none"
	if call.StatusCode != 0 {
		code = strconv.Itoa(call.StatusCode)
	}
	m.requests.WithLabelValues(call.Method, call.Endpoint, code).Inc()
	if call.Warning != "" {
		m.warnings.Inc()
	}
	ids := prometheus.Labels{"request_id": call.RequestID}
	if call.ResponseID != "" {
		ids["response_id"] = call.ResponseID
	}
	m.duration.WithLabelValues(call.Method, call.Endpoint).(prometheus.ExemplarObserver).
		ObserveWithExemplar(call.Duration.Seconds(), ids)
}

func (m *callMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.requests, m.errors, m.duration, m.waits, m.warnings}
}

// Describe implements [prometheus.Collector].
func (m *callMetrics) Describe(descs chan<- *prometheus.Desc) {
	for _, c := range m.collectors() {
		c.Describe(descs)
	}
}

// Collect implements [prometheus.Collector].
func (m *callMetrics) Collect(metrics chan<- prometheus.Metric) {
	for _, c := range m.collectors() {
		c.Collect(metrics)
	}
}
