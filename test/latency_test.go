package test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"bunq_exporter/bunq"
)

// await returns how long after an event an alert is received. Alerts of earlier events are ignored.
func (w *webhook) await(t *testing.T, alert string, event time.Time) time.Duration {
	t.Helper()
	for time.Since(event) < 20*time.Minute {
		for _, text := range w.take() {
			if strings.HasPrefix(text, "pager firing") && strings.HasSuffix(text, "#"+anchor(alert)) {
				return time.Since(event).Round(time.Second)
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal(alert + " is not received")
	return 0
}

// refusing returns an API that rejects the key and its sessions while refused is true.
func refusing(a *api) (refused *atomic.Bool) {
	refused = &atomic.Bool{}
	var installation atomic.Value
	a.setIntercept(func(w http.ResponseWriter, r *http.Request) bool {
		token := r.Header.Get("X-Bunq-Client-Authentication")
		login := strings.HasSuffix(r.URL.Path, "/session-server")
		if login {
			installation.Store(token)
		}
		switch {
		case refused.Load() && login:
			a.Answer(w, r, http.StatusBadRequest,
				[]byte(`{"Error":[{"error_description":"User credentials are incorrect. Incorrect API key or IP address."}]}`))
		case refused.Load() && token != installation.Load():
			a.Answer(w, r, http.StatusUnauthorized, []byte(`{"Error":[{"error_description":"Insufficient authorisation."}]}`))
		default:
			return false
		}
		return true
	})
	return refused
}

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
		at := time.Now()
		event()
		t.Log(interval, path, alert, w.await(t, alert, at))
	}
	eventually(t, "bunq is up", func() bool { return len(prometheus.query(t, "bunq_up == 1")) == 1 })
	for id := int64(4712); id <= 4715; id++ {
		measure("BunqDeviceServerBlocked", func() { a.SetStatus(id, bunq.StatusBlocked) })
	}
	refused := refusing(a)
	e.awaitUp("company")
	measure("BunqLoginRefused", func() { refused.Store(true) })
	refused.Store(false)
	measure("BunqAPIDown", func() { a.setIntercept(hang) })
	a.setIntercept(nil)
	measure("BunqExporterGone", func() { e.stop() })
}
