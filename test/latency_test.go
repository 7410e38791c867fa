package test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"bunq_exporter/bunq"
)

// The measurements of docs/alerting.md: from the event to the webhook, with the rules and routes as they are. Events
// happen at any time between two scrapes.
func TestAlertLatency(t *testing.T) {
	if os.Getenv("LATENCY") == "" {
		t.Skip("takes half an hour: make latency")
	}
	for _, interval := range []time.Duration{15 * time.Second, time.Minute} {
		for _, path := range []string{"/metrics", "/sd"} {
			t.Run(fmt.Sprint(interval, path), func(t *testing.T) {
				t.Parallel()
				measureLatency(t, interval, path)
			})
		}
	}
}

func measureLatency(t *testing.T, interval time.Duration, path string) {
	a := newAPI(t)
	for id := int64(4712); id <= 4715; id++ {
		a.add(id, "bookkeeping")
	}
	e, _ := watchProduction(t, a, 4712, 4713, 4714, 4715)
	targets := fmt.Sprintf("static_configs: [{targets: [%q]}]", e.address())
	if path == "/sd" {
		targets = fmt.Sprintf("http_sd_configs: [{url: %q}]", e.url+path)
	}
	w, prometheus := startAlerting(t, func(text string) string { return text },
		fmt.Sprintf("global: {scrape_interval: %s}\nscrape_configs: [{job_name: bunq, %s}]", interval, targets))
	measure := func(alert string, event func()) {
		time.Sleep(time.Minute + rand.N(interval)) // the event before is over
		for len(w) > 0 {
			<-w
		}
		begin := time.Now()
		event()
		for text := range w {
			if strings.HasPrefix(text, "pager firing") && strings.HasSuffix(text, "#"+anchor(alert)) {
				break
			}
		}
		t.Log(interval, path, alert, time.Since(begin).Round(time.Second))
	}
	eventually(t, "bunq is up", func() bool { return len(prometheus.query(t, "bunq_up == 1")) == 1 })
	for id := int64(4712); id <= 4715; id++ {
		measure("BunqDeviceServerBlocked", func() { a.SetStatus(id, bunq.StatusBlocked) })
	}
	own := a.DeviceServers()[0].ID
	measure("BunqLoginRefused", func() { a.SetStatus(own, bunq.StatusNeedsConfirmation) })
	a.SetStatus(own, bunq.StatusActive)
	measure("BunqAPIDown", func() { a.setIntercept(hang) })
	a.setIntercept(nil)
	measure("BunqExporterGone", func() { e.stop() })
}
