package test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"testing"
	"time"
)

// startService starts a real Prometheus or Alertmanager, and waits until it is ready.
func startService(t *testing.T, program string, args ...string) *process {
	t.Helper()
	args = append(args, "--web.listen-address=127.0.0.1:0")
	p := launchProgram(t, "", tool(t, program, "apt-get install "+program), args...)
	p.findURL()
	eventually(t, program+" is ready", func() bool {
		status, _, _ := call(t.Context(), http.MethodGet, p.url+"/-/ready")
		return status == http.StatusOK
	})
	return p
}

// startPrometheus starts a real Prometheus with a configuration.
func startPrometheus(t *testing.T, config string) *process {
	t.Helper()
	folder := t.TempDir()
	return startService(t, "prometheus", "--config.file="+writeFile(t, folder, "prometheus.yml", config),
		"--storage.tsdb.path="+folder+"/data", "--enable-feature=exemplar-storage")
}

// query returns the values of the series of an expression in Prometheus.
func (p *process) query(t *testing.T, expression string) (values []string) {
	t.Helper()
	var answer struct {
		Data struct{ Result []struct{ Value [2]any } } // the time and the value
	}
	body := get(t, p.url+"/api/v1/query?query="+url.QueryEscape(expression))
	check(t, json.Unmarshal([]byte(body), &answer))
	for _, series := range answer.Data.Result {
		values = append(values, fmt.Sprint(series.Value[1]))
	}
	return values
}

func TestPrometheusScrapes(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.setIntercept(hang)
	demo := start(t, "--demo")
	hanging, _ := watch(t, a, 4711)
	p := startPrometheus(t, fmt.Sprintf(`
global: {scrape_interval: 4s, scrape_timeout: 3s}
scrape_configs:
  - job_name: demo
    static_configs: [{targets: [%[1]q]}]
  - job_name: hanging
    static_configs: [{targets: [%[2]q]}]
  - job_name: probe
    scrape_interval: 7s
    http_sd_configs: [{url: "http://%[1]s/sd"}]
`, demo.address(), hanging.address()))
	for expression, want := range map[string]string{
		`up{job="demo"}`:                                                                            "1",
		`count(up{job="probe"} == 1)`:                                                               "2",
		`bunq_up{job="probe",account="demo"}`:                                                       "1",
		`count(bunq_device_server_status{job="demo",id=~"471."} == 1)`:                              "5",
		`bunq_device_server_status{job="demo",id="4712",status="BLOCKED"}`:                          "1",
		`count(bunq_unexpected_device_server_info{job="demo",id="4720"})`:                           "1",
		`count(bunq_api_request_duration_seconds_count{job="demo",endpoint=~".*-server"}) > bool 1`: "1",
		`min_over_time(up{job="hanging"}[1m])`:                                                      "1",
		`max_over_time(scrape_duration_seconds{job="hanging"}[1m]) < bool 3`:                        "1",
		`bunq_up{account="company"}`:                                                                "0",
	} {
		eventually(t, expression+" is "+want, func() bool { return slices.Contains(p.query(t, expression), want) })
	}
	// An exemplar comes some time after its sample.
	ids := regexp.MustCompile(`"labels":\{"request_id":"[^"]+","response_id":"[^"]+"\}`)
	query := fmt.Sprintf("%s/api/v1/query_exemplars?query=bunq_api_request_duration_seconds_bucket&start=%d&end=%d", p.url,
		time.Now().Add(-time.Hour).Unix(), time.Now().Add(time.Hour).Unix())
	eventually(t, "an exemplar has both ids", func() bool { return ids.MatchString(get(t, query)) })
}
