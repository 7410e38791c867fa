package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"bunq_exporter/bunq"
)

func TestDemoShowsWhatTheSimulatedAPIHolds(t *testing.T) {
	e := start(t, "--demo")
	metricsURL := e.stdout.find(t, `metrics +(\S+)`)
	statusURL := e.stdout.find(t, `status page +(\S+)`)
	api := e.stdout.find(t, `simulated API +(\S+)`)
	contextFile := e.stdout.find(t, `/p' (\S+) \| tail`)
	if key := e.stdout.find(t, `its API key +(\S+)`); !strings.HasPrefix(key, "sandbox_") {
		t.Errorf("the API key is %s, want one of the sandbox", key)
	}
	metrics := get(t, metricsURL)
	if missing := lacks(metrics,
		`bunq_up{account="demo"} 1`,
		`bunq_device_server_status{account="demo",id="4711",status="ACTIVE"} 1`,
		`bunq_device_server_status{account="demo",id="4712",status="BLOCKED"} 1`,
		`bunq_device_server_status{account="demo",id="4713",status="NEEDS_CONFIRMATION"} 1`,
		`bunq_device_server_status{account="demo",id="4714",status="OBSOLETE"} 1`,
		`bunq_unexpected_device_server_info{account="demo",description="whose is this?",id="4720",ip="192.0.2.66",status="ACTIVE"} 1`,
		`bunq_api_requests_total{account="demo",code="200",endpoint="device-server",method="GET"} 1`,
		`bunq_api_request_errors_total{account="demo",endpoint="device-server",method="GET",reason="timeout"} 0`,
	); missing != nil {
		t.Errorf("the metrics lack %q:\n%s", missing, metrics)
	}
	if page := get(t, statusURL); !strings.Contains(page, "bookkeeping sync") {
		t.Errorf("the status page lacks a device server:\n%s", page)
	}
	checkTimestamps(t, metrics, readAPI(t, api, contextFile))
	checkREADME(t, metrics)
	if code := e.stop(); code != exitOK {
		t.Errorf("exit status %d, want 0", code)
	}
	if _, err := os.Stat(filepath.Dir(contextFile)); !os.IsNotExist(err) {
		t.Errorf("the demo leaves its folder behind: %v", err)
	}
}

// checkREADME wants every metric that the exporter shows, and every reason, in the README.
func checkREADME(t *testing.T, metrics string) {
	t.Helper()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, match := range regexp.MustCompile(`(?m)^# TYPE (bunq_\S+)`).FindAllStringSubmatch(metrics, -1) {
		if !strings.Contains(string(readme), "| `"+match[1]+"` |") {
			t.Errorf("the README's metrics lack %s", match[1])
		}
	}
	for _, reason := range bunq.Reasons() {
		if !strings.Contains(string(readme), "\n| `"+string(reason)+"` |") {
			t.Errorf("the README's troubleshooting lacks %s", reason)
		}
	}
}

type deviceServer struct {
	ID                       int64
	Created, Updated, Status string
}

// readAPI asks the simulated API as the curl line of --demo does.
func readAPI(t *testing.T, api, contextFile string) (all []deviceServer) {
	t.Helper()
	text, err := os.ReadFile(contextFile)
	if err != nil {
		t.Fatal(err)
	}
	var context struct {
		Session struct{ Token string } `json:"session_context"`
	}
	var answer struct {
		Response []struct{ DeviceServer deviceServer }
	}
	if err := json.Unmarshal(text, &context); err != nil {
		t.Fatal(err)
	}
	body := get(t, api+"/device-server?count=200", "X-Bunq-Client-Authentication", context.Session.Token,
		"X-Bunq-Client-Request-Id", "1", "X-Bunq-Language", "en_US", "X-Bunq-Region", "nl_NL", "X-Bunq-Geolocation", "0 0 0 0 000", "Cache-Control", "no-cache")
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatal(err)
	}
	for _, object := range answer.Response {
		all = append(all, object.DeviceServer)
	}
	return all
}

func checkTimestamps(t *testing.T, metrics string, held []deviceServer) {
	t.Helper()
	checked := 0
	for _, d := range held {
		for field, text := range map[string]string{"created": d.Created, "updated": d.Updated} {
			pattern := fmt.Sprintf(`(?m)^bunq_device_server_%s_timestamp_seconds{account="demo",id="%d"} (\S+)$`, field, d.ID)
			match := regexp.MustCompile(pattern).FindStringSubmatch(metrics)
			if match == nil {
				continue // not watched
			}
			want, err := time.Parse("2006-01-02 15:04:05.000000", text)
			if err != nil {
				t.Fatal(err)
			}
			got, err := strconv.ParseFloat(match[1], 64)
			if err != nil || int64(math.Round(got*1e6)) != want.UnixMicro() {
				t.Errorf("%s of %d is %s, want %s (%v)", field, d.ID, match[1], text, err)
			}
			checked++
		}
	}
	if checked != 10 {
		t.Errorf("%d timestamps were compared, want those of 5 device servers", checked)
	}
}
