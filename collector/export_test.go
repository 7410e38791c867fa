package collector

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Exposed is what a scrape shows of a reading.
type Exposed struct{ Reading Reading }

// Describe implements [prometheus.Collector].
func (Exposed) Describe(ch chan<- *prometheus.Desc) { (&scrape{}).Describe(ch) }

// Collect implements [prometheus.Collector].
func (e Exposed) Collect(ch chan<- prometheus.Metric) {
	sendReading(ch, "company", e.Reading, time.Now())
}
