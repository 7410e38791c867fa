package collector_test

import (
	"net/http"
	"testing"
	"time"

	"bunq_exporter/bunq/bunqtest"
)

func TestEveryReadRejected(t *testing.T) {
	withAccount(t, bunqtest.Options{}, 1, []int64{1}, func(t *testing.T, api *fakeAPI, a *account) {
		api.set(0, func(w http.ResponseWriter, r *http.Request) bool {
			return r.Method == http.MethodGet && api.refuse(http.StatusUnauthorized, "")(w, r)
		})
		success := a.State().LastSuccess
		for range 10 {
			s := &scraper{timeout: timeout}
			runScrapers(t, a, s)
			s.expectRead(t, nil, []int64{1, a.own()})
			if err := a.State().Result.Err; err == nil || s.took > 3*time.Second { // of the rate limit
				t.Errorf("took %v, err %v", s.took, err)
			}
			time.Sleep(interval)
		}
		if now := a.State().LastSuccess; now != success {
			t.Errorf("the last success is that at %v, want %v", now, success)
		}
	})
}
