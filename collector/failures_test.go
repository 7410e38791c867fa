package collector_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
)

func TestFailuresAreTheLastOfEachReasonNewestFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, bunqtest.Options{}, device(11, bunq.StatusActive))
		account, _ := newAccount(t, "company", w, 11)
		scrape(t, time.Second, account)
		if failures := account.State().Failures; len(failures) != 0 {
			t.Errorf("before anything fails: %+v", failures)
		}
		status := 0
		w.fault = func(rw http.ResponseWriter, r *http.Request) bool {
			w.Answer(rw, r, status, []byte(`{"Error":[{"error_description":"So it is."}]}`))
			return true
		}
		for _, status = range []int{502, 503, 500} {
			time.Sleep(interval)
			scrape(t, time.Second, account)
		}
		w.fault = nil
		time.Sleep(interval)
		scrape(t, time.Second, account)
		failures := account.State().Failures
		for i, want := range []struct {
			reason bunq.Reason
			status int
			count  int
			ago    time.Duration
		}{{bunq.ReasonServer, 500, 2, interval}, {bunq.ReasonMaintenance, 503, 1, 2 * interval}} {
			if len(failures) != 2 {
				t.Fatalf("%d failures, want one for each reason: %+v", len(failures), failures)
			}
			got := failures[i]
			if got.Err.Reason != want.reason || got.Err.StatusCode != want.status || got.Count != want.count || time.Since(got.Time) != want.ago ||
				got.Err.ResponseID == "" || got.Err.Description != "So it is." {
				t.Errorf("failure %d is %+v, %+v; want %+v", i, got, got.Err, want)
			}
		}
		if last := account.State().LastSuccess; !last.Equal(time.Now()) {
			t.Errorf("the last success is %v, want that of this scrape", last)
		}
	})
}
