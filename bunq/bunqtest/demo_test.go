package bunqtest_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
)

func TestDemoHasEveryStatusAndOneDeviceServerThatNobodyWatches(t *testing.T) {
	demo, err := bunqtest.NewDemo()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[bunq.Status]bool{}
	var unwatched []int64
	for _, d := range demo.DeviceServers() {
		seen[d.Status] = true
		if !slices.Contains(demo.Watched(), d.ID) {
			unwatched = append(unwatched, d.ID)
		}
	}
	for _, status := range bunq.Statuses() {
		if !seen[status] {
			t.Errorf("no device server is %s", status)
		}
	}
	if !slices.Equal(unwatched, []int64{4720}) {
		t.Errorf("%d are not watched, want 4720 alone", unwatched)
	}
}

// runDemo lets a demo live until the test ends.
func runDemo(t *testing.T) *bunqtest.Demo {
	t.Helper()
	demo, err := bunqtest.NewDemo()
	if err != nil {
		t.Fatal(err)
	}
	go demo.Run(t.Context())
	return demo
}

func TestDemoChangesAStatusEveryMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		demo := runDemo(t)
		before := demo.DeviceServers()
		for minute := range 5 {
			time.Sleep(time.Minute)
			synctest.Wait()
			now := demo.DeviceServers()
			var changed []int64
			for i, d := range now {
				if d.Status != before[i].Status && d.Updated.Equal(time.Now()) {
					changed = append(changed, d.ID)
				}
			}
			if !slices.Equal(changed, []int64{4715}) {
				t.Errorf("in minute %d the statuses of %d changed, want that of 4715 alone", minute, changed)
			}
			before = now
		}
	})
}

func TestDemoIsInMaintenanceForOneMinuteInFifteen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		demo := runDemo(t)
		time.Sleep(30 * time.Second)
		var refused []int
		for minute := range 31 {
			w := httptest.NewRecorder()
			asked := time.Now()
			demo.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/device-server", nil))
			if w.Code == http.StatusServiceUnavailable {
				refused = append(refused, minute)
			}
			took := time.Since(asked)
			if took < 30*time.Millisecond || took > time.Second {
				t.Errorf("an answer took %v", took)
			}
			time.Sleep(time.Minute - took)
		}
		if !slices.Equal(refused, []int{15, 30}) {
			t.Errorf("bunq is in maintenance in the minutes %d, want 15 and 30", refused)
		}
	})
}
