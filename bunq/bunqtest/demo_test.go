package bunqtest_test

import (
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
		time.Sleep(time.Minute)
		synctest.Wait()
		for i, d := range demo.DeviceServers() {
			if changed := d.Status != before[i].Status; changed != (d.ID == 4715) {
				t.Errorf("device server %d changed: %t", d.ID, changed)
			}
		}
	})
}
