package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

const (
	getPrometheus   = "apt-get install prometheus"
	getAlertmanager = "apt-get install prometheus-alertmanager"
)

// service is a real Prometheus or Alertmanager.
type service struct{ address string }

// startService runs a program until the test ends, and waits until it is ready.
func startService(t *testing.T, program string, args ...string) *service {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &service{listener.Addr().String()} // free now, and most likely still in a moment: neither program tells which port it chose
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	var logged bytes.Buffer
	command := exec.CommandContext(t.Context(), program, append(args, "--web.listen-address="+s.address)...)
	command.Stdout, command.Stderr = &logged, &logged
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Wait() // it is killed
		if t.Failed() {
			t.Logf("%s:\n%s", program, &logged)
		}
	})
	eventually(t, program+" is ready", func() bool {
		_, err := fetch(t.Context(), "http://"+s.address+"/-/ready")
		return err == nil
	})
	return s
}

// eventually waits until something holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !holds(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it does not come to this: %s", what)
		}
	}
}

// startPrometheus runs a real Prometheus with the configuration, on the data in folder.
func startPrometheus(t *testing.T, folder, config string) *service {
	t.Helper()
	file := writeFile(t, folder, "prometheus.yml", config)
	return startService(t, tool(t, "prometheus", getPrometheus), "--config.file="+file, "--storage.tsdb.path="+filepath.Join(folder, "data"),
		"--enable-feature=exemplar-storage", "--log.level=warn")
}

// query returns the value of a PromQL expression, of its first series, or "".
func (s *service) query(t *testing.T, expression string) string {
	t.Helper()
	var answer struct {
		Data struct {
			Result []struct{ Value [2]any }
		}
	}
	body := get(t, "http://"+s.address+"/api/v1/query?query="+url.QueryEscape(expression))
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatal(err)
	}
	if len(answer.Data.Result) == 0 {
		return ""
	}
	return fmt.Sprint(answer.Data.Result[0].Value[1])
}

// expect waits until an expression has the value.
func (s *service) expect(t *testing.T, expression, want string) {
	t.Helper()
	eventually(t, expression+" is "+want, func() bool { return s.query(t, expression) == want })
}

func TestRealPrometheusScrapesWhatIsThereAndWhatHangs(t *testing.T) {
	t.Parallel()
	silent, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close() //nolint:errcheck // it has done its work
	demo := start(t, "--demo")
	hanging := start(t, "--config.file="+writeConfig(t, t.TempDir(), "http://"+silent.Addr().String()+"/v1", 4711))
	p := startPrometheus(t, t.TempDir(), fmt.Sprintf(`
global: {scrape_interval: 4s, scrape_timeout: 3s}
scrape_configs:
  - job_name: demo
    static_configs: [{targets: [%[1]q]}]
  - job_name: hanging
    static_configs: [{targets: [%[2]q]}]
  - job_name: probe
    scrape_interval: 7s
    http_sd_configs: [{url: "http://%[1]s/sd"}]
`, strings.TrimPrefix(demo.url, "http://"), strings.TrimPrefix(hanging.url, "http://")))
	for expression, want := range map[string]string{
		`up{job="demo"}`:                                                                                 "1",
		`up{job="probe"}`:                                                                                "1",
		`bunq_up{job="probe",account="demo"}`:                                                            "1",
		`count(bunq_device_server_status{job="demo"} == 1)`:                                              "5",
		`bunq_device_server_status{job="demo",id="4712",status="BLOCKED"}`:                               "1",
		`count(bunq_unexpected_device_server_info{job="demo",id="4720"})`:                                "1",
		`count(bunq_api_request_duration_seconds_count{job="demo",account="demo"})`:                      "5",
		`min_over_time(up{job="hanging"}[1m])`:                                                           "1", // each scrape ended within Prometheus's 3 s
		`bunq_up{account="company"}`:                                                                     "0",
		`max_over_time(scrape_duration_seconds{job="hanging"}[1m]) < bool 3`:                             "1",
		`bunq_api_request_errors_total{job="hanging",endpoint="installation",reason="timeout"} > bool 0`: "1",
	} {
		p.expect(t, expression, want)
	}
	ids := regexp.MustCompile(`"labels":\{"request_id":"[^"]+","response_id":"[^"]+"\}`)
	eventually(t, "an exemplar has both ids", func() bool {
		return ids.MatchString(get(t, fmt.Sprintf("http://%s/api/v1/query_exemplars?query=bunq_api_request_duration_seconds_bucket&start=%d&end=%d",
			p.address, time.Now().Add(-time.Hour).Unix(), time.Now().Add(time.Minute).Unix())))
	})
	check := exec.CommandContext(t.Context(), tool(t, "promtool", getPrometheus), "check", "metrics")
	check.Stdin = strings.NewReader(get(t, demo.url+"/metrics"))
	if findings, err := check.CombinedOutput(); err != nil || len(findings) != 0 {
		t.Errorf("promtool check metrics: %v: %s", err, findings)
	}
}
