package collector_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"

	"bunq_exporter/bunq/bunqtest"
)

func TestCallMetrics(t *testing.T) {
	withAccount(t, bunqtest.Options{Warning: "Careful."}, 700, nil, func(t *testing.T, _ *fakeAPI, a *account) {
		m := scrape(t, timeout, a)
		m.expect(t, 3+4+4, "bunq_api_warnings_total", "company")              // of the login and two scrapes
		m.expect(t, 3+3, "bunq_api_rate_limit_wait_seconds_total", "company") // of the fourth pages
		var text bytes.Buffer
		for _, family := range m {
			_, err := expfmt.MetricFamilyToOpenMetrics(&text, family)
			check(t, err)
			for _, metric := range family.GetMetric() {
				if h := metric.GetHistogram(); h != nil && (h.GetSchema() == 0 || len(h.GetBucket()) == 0) {
					t.Errorf("%s is not both native and classic", family.GetName())
				}
			}
		}
		for _, label := range []string{"request_id", "response_id"} {
			if n := strings.Count(text.String(), label+`="`); n != 4 {
				t.Errorf("%d exemplars with a %s, want one for each of 4 operations", n, label)
			}
		}
	})
}
