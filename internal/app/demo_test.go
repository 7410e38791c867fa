package app

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

func TestDemo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		demo := newDemo()
		go demo.scrape(t.Context(), newTestAccounts(t, http.NotFoundHandler(), demoKey))
		before := demo.DeviceServers()
		time.Sleep(time.Minute)
		synctest.Wait()
		for i, d := range demo.DeviceServers() {
			if changed := d.Status != before[i].Status; changed != (d.ID == changingID) {
				t.Errorf("device server %d changed: %t", d.ID, changed)
			}
		}
	})
}
