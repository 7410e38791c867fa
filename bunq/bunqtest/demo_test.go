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
		for minute := 1; minute <= 5; minute++ {
			time.Sleep(time.Minute)
			synctest.Wait()
			after := demo.DeviceServers()
			for i, d := range after {
				if changed := d.Status != before[i].Status; changed != (d.ID == 4715) {
					t.Errorf("minute %d: device server %d changed: %t", minute, d.ID, changed)
				}
			}
			before = after
		}
	})
}
