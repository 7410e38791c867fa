package bunqtest_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"bunq_exporter/bunq/bunqtest"
)

func TestDemo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		demo := bunqtest.NewDemo()
		go demo.Run(t.Context())
		before := demo.DeviceServers()
		var maintenance []int
		for minute := 1; minute <= 31; minute++ {
			time.Sleep(time.Minute)
			synctest.Wait()
			after := demo.DeviceServers()
			for i, d := range after {
				if changed := d.Status != before[i].Status; changed != (d.ID == 4715) {
					t.Errorf("minute %d: device server %d changed: %t", minute, d.ID, changed)
				}
			}
			before = after
			recorder := httptest.NewRecorder()
			demo.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/v1/device-server", nil))
			if recorder.Code == http.StatusServiceUnavailable {
				maintenance = append(maintenance, minute)
			}
		}
		if !slices.Equal(maintenance, []int{15, 30}) {
			t.Errorf("maintenance in the minutes %d, want 15 and 30", maintenance)
		}
	})
}
