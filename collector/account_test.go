package collector_test

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
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

func TestFailuresNewestFirst(t *testing.T) {
	withAccount(t, bunqtest.Options{}, 1, []int64{1}, func(t *testing.T, api *fakeAPI, a *account) {
		for _, status := range []int{502, 503, 500} {
			api.set(0, api.refuse(status, "So it is."))
			scrape(t, timeout, a)
			time.Sleep(interval)
		}
		failures := a.Failures()
		if len(failures) != 2 {
			t.Fatalf("%d failures, want one for each reason: %+v", len(failures), failures)
		}
		for i, want := range []struct{ status, count int }{{500, 2}, {503, 1}} {
			got := failures[i]
			if got.Err.StatusCode != want.status || got.Count != want.count || got.Err.Description != "So it is." ||
				time.Since(got.Time) != time.Duration(i+1)*interval {
				t.Errorf("failure %d is %+v, want %+v", i, got, want)
			}
		}
		for range 4 { // as many reads as the limit allows, and one that is not sent
			api.set(0, api.refuse(http.StatusTooManyRequests, ""))
			scrape(t, time.Second, a)
		}
		last := a.Failures()[0]
		if last.Count != 4 || last.Err.ResponseID != "" || uuid.Validate(last.ResponseID) != nil {
			t.Errorf("the last failure is %+v, want the response id of the one before", last)
		}
	})
}

// expectLines fails the test unless the lines, in any order, each contain all parts of one of those that are wanted.
func expectLines(t testing.TB, lines []string, want ...[]string) {
	t.Helper()
	if len(lines) != len(want) {
		t.Errorf("logged %d lines, want %d: %q", len(lines), len(want), lines)
	}
	for _, parts := range want {
		if !slices.ContainsFunc(lines, func(line string) bool {
			return !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(line, part) })
		}) {
			t.Errorf("no line with %q: %q", parts, lines)
		}
	}
}
