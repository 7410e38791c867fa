package collector

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// series is one constant metric. NewConstMetric's would hold copies of the labels, which the series of a device server
// share: with 200 of them, that would be half of a scrape's memory.
type series struct {
	desc   *prometheus.Desc
	kind   prometheus.ValueType
	value  float64
	labels []*dto.LabelPair // all of the desc's, by name
}

var _ prometheus.Metric = (*series)(nil)

// Desc implements [prometheus.Metric].
func (s *series) Desc() *prometheus.Desc { return s.desc }

// Write implements [prometheus.Metric].
func (s *series) Write(out *dto.Metric) error {
	out.Label = s.labels
	if s.kind == prometheus.CounterValue {
		out.Counter = &dto.Counter{Value: &s.value}
	} else {
		out.Gauge = &dto.Gauge{Value: &s.value}
	}
	return nil
}

// label makes a label. Text comes from outside, so it is made valid UTF-8, or the whole scrape would fail.
func label(name, value string) *dto.LabelPair {
	value = strings.ToValidUTF8(value, "\uFFFD")
	return &dto.LabelPair{Name: &name, Value: &value}
}

// send makes one constant gauge.
func send(ch chan<- prometheus.Metric, desc *prometheus.Desc, value float64, labels ...*dto.LabelPair) {
	ch <- &series{desc, prometheus.GaugeValue, value, labels}
}
