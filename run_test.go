package main

import (
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
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

func TestTenRestartsLeaveOneDeviceServerAndOneSession(t *testing.T) {
	api, baseURL := newAPI(t, asItIs)
	file := writeConfig(t, t.TempDir(), baseURL, 4711)
	for range 10 {
		e := start(t, "--config.file="+file)
		if text := get(t, e.url+"/metrics"); !strings.Contains(text, `bunq_session_renewals_total{account="company"} 0`) {
			t.Errorf("a session was renewed:\n%s", text)
		}
		if code := e.stop(); code != exitOK {
			t.Fatalf("exit status %d:\n%s", code, e.stderr)
		}
	}
	for operation, want := range map[bunq.Operation]int{bunq.CreateInstallation: 1, bunq.CreateDeviceServer: 1, bunq.CreateSessionServer: 1, bunq.ListDeviceServers: 10} {
		if got := api.Requests(operation); got != want {
			t.Errorf("%d × %s, want %d", got, operation, want)
		}
	}
	if devices, sessions := len(api.DeviceServers()), api.Sessions(); devices != 1+1 || sessions != 1 {
		t.Errorf("%d device servers besides the watched one and %d sessions, want one each", devices-1, sessions)
	}
}

func TestTroubleWithTheAPIAtTheStartDoesNotStopTheExporter(t *testing.T) {
	var down atomic.Bool
	down.Store(true)
	_, baseURL := newAPI(t, func(api http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if down.Load() {
				http.Error(w, "<html>maintenance</html>", http.StatusServiceUnavailable)
				return
			}
			api.ServeHTTP(w, r)
		})
	})
	e := start(t, "--config.file="+writeConfig(t, t.TempDir(), baseURL, 4711))
	if missing := lacks(get(t, e.url+"/metrics"), `bunq_up{account="company"} 0`,
		`bunq_api_request_errors_total{account="company",endpoint="installation",method="POST",reason="maintenance"} 1`); missing != nil {
		t.Errorf("with the API down, the metrics lack %q", missing)
	}
	down.Store(false)
	if missing := lacks(get(t, e.url+"/metrics"), `bunq_up{account="company"} 1`); missing != nil {
		t.Errorf("with the API up again, the metrics lack %q", missing)
	}
}

func TestConnectionRefusedIsANetworkError(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed at once
	if err != nil {
		t.Fatal(err)
	}
	_ = listener.Close()
	e := start(t, "--config.file="+writeConfig(t, t.TempDir(), "http://"+listener.Addr().String()+"/v1", 4711))
	if missing := lacks(get(t, e.url+"/metrics"), `bunq_up{account="company"} 0`, `bunq_device_server_up{account="company",id="4711"} 0`,
		`bunq_api_request_errors_total{account="company",endpoint="installation",method="POST",reason="network"} 1`); missing != nil {
		t.Errorf("the metrics lack %q", missing)
	}
}

func TestReload(t *testing.T) {
	_, baseURL := newAPI(t, asItIs)
	folder := t.TempDir()
	file := writeConfig(t, folder, baseURL, 4711)
	e := start(t, "--config.file="+file, "--web.enable-lifecycle")
	get(t, e.url+"/metrics")

	writeConfig(t, folder, baseURL, 0)
	if status := post(t, e.url+"/-/reload"); status != http.StatusInternalServerError {
		t.Errorf("a wrong configuration is answered %d, want 500", status)
	}
	if missing := lacks(get(t, e.url+"/metrics"), "bunq_exporter_config_last_reload_successful 0", `bunq_device_server_up{account="company",id="4711"} 1`,
		`bunq_api_requests_total{account="company",code="200",endpoint="device-server",method="GET"} 2`); missing != nil {
		t.Errorf("after a wrong configuration, the metrics lack %q", missing)
	}
	e.stderr.find(t, `(config.yml:7: an id of device_servers must be from 1)`)

	writeConfig(t, folder, baseURL, 4711, 4712)
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	e.stderr.find(t, `(Configuration loaded.* device_servers=2)`)
	if missing := lacks(get(t, e.url+"/metrics"), "bunq_exporter_config_last_reload_successful 1", `bunq_device_server_up{account="company",id="4712"} 0`,
		`bunq_api_requests_total{account="company",code="200",endpoint="device-server",method="GET"} 3`); missing != nil {
		t.Errorf("after a changed configuration, the metrics lack %q", missing)
	}
	if status := post(t, e.url+"/-/reload"); status != http.StatusOK {
		t.Errorf("a right configuration is answered %d, want 200", status)
	}
	// Nothing changed, so the account is the same one, with its counters.
	if missing := lacks(get(t, e.url+"/metrics"), `bunq_api_request_errors_total{account="company",endpoint="device-server/{id}",method="GET",reason="not_found"} 2`); missing != nil {
		t.Errorf("after reloading what is unchanged, the metrics lack %q", missing)
	}
}

func TestReloadDuringARegistrationRegistersOnce(t *testing.T) {
	registering, answer := make(chan struct{}), make(chan struct{})
	var once sync.Once
	api, baseURL := newAPI(t, func(api http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/device-server") {
				once.Do(func() { close(registering) })
				<-answer
			}
			api.ServeHTTP(w, r)
		})
	})
	folder := t.TempDir()
	e := start(t, "--config.file="+writeConfig(t, folder, baseURL, 4711), "--web.enable-lifecycle")
	go func() { _, _ = fetch(t.Context(), e.url+"/metrics") }() // begins the registration
	<-registering
	text, err := os.ReadFile(filepath.Join(folder, "config.yml"))
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, folder, "config.yml", strings.Replace(string(text), "name: company", "name: renamed", 1))
	time.AfterFunc(time.Second/2, func() { close(answer) }) // long after a reload that does not wait
	if status := post(t, e.url+"/-/reload"); status != http.StatusOK {
		t.Errorf("the reload is answered %d", status)
	}
	if missing := lacks(get(t, e.url+"/metrics"), `bunq_up{account="renamed"} 1`); missing != nil {
		t.Errorf("after the reload, the metrics lack %q", missing)
	}
	if got := api.Requests(bunq.CreateDeviceServer); got != 1 {
		t.Errorf("registered %d times, want once", got)
	}
}

func TestNoClientCanHoldAServerForEver(t *testing.T) {
	server := newServer(nil)
	for name, limit := range map[string]time.Duration{
		"ReadHeaderTimeout": server.ReadHeaderTimeout, "ReadTimeout": server.ReadTimeout, "WriteTimeout": server.WriteTimeout, "IdleTimeout": server.IdleTimeout,
	} {
		if limit <= 0 || limit > 5*time.Minute {
			t.Errorf("%s is %s", name, limit)
		}
	}
}

func TestShutdownLetsAScrapeEnd(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	_, baseURL := newAPI(t, func(api http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				close(asked)
				<-answer
			}
			api.ServeHTTP(w, r)
		})
	})
	e := start(t, "--config.file="+writeConfig(t, t.TempDir(), baseURL, 4711))
	scraped := make(chan string)
	go func() {
		text, err := fetch(t.Context(), e.url+"/metrics")
		if err != nil {
			text = err.Error()
		}
		scraped <- text
	}()
	<-asked
	stopped := make(chan int)
	go func() { stopped <- e.stop() }()
	e.stderr.find(t, `(Shutting down)`)
	close(answer)
	if missing := lacks(<-scraped, `bunq_up{account="company"} 1`); missing != nil {
		t.Errorf("the scrape that was under way lacks %q", missing)
	}
	if code := <-stopped; code != exitOK {
		t.Errorf("exit status %d, want 0", code)
	}
}

func TestSecretsStayInside(t *testing.T) {
	folder := t.TempDir()
	contextFile := filepath.Join(folder, "company.conf")
	var quotes atomic.Bool // whether the API quotes secrets in its answers to GETs
	_, baseURL := newAPI(t, func(api http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Bunq-Warning", "Your token "+r.Header.Get("X-Bunq-Client-Authentication")+" is old.")
			if r.Method == http.MethodGet && quotes.Load() {
				w.WriteHeader(http.StatusBadRequest)
				_, _ = fmt.Fprintf(w, `{"Error":[{"error_description":"Your key %s and token %s are odd."}]}`, apiKey, r.Header.Get("X-Bunq-Client-Authentication"))
				return
			}
			api.ServeHTTP(w, r)
		})
	})
	e := start(t, "--config.file="+writeConfig(t, folder, baseURL, 4711), "--log.level=debug", "--log.format=json")
	seen := ""
	for _, now := range []bool{false, true} {
		quotes.Store(now)
		for _, path := range []string{"/metrics", "/probe?account=company", "/status", "/", "/sd"} {
			seen += get(t, e.url+path, "Accept", "application/openmetrics-text")
		}
	}
	seen += e.stderr.String() + e.stdout.String()
	if !strings.Contains(seen, "[redacted]") {
		t.Error("bunq's words are not there: nothing is proven")
	}
	var kept struct {
		Installation struct {
			Token      string
			PrivateKey string `json:"private_key_client"`
		} `json:"installation_context"`
		Session struct{ Token string } `json:"session_context"`
	}
	text, err := os.ReadFile(contextFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &kept); err != nil {
		t.Fatal(err)
	}
	secrets := append(strings.Split(kept.Installation.PrivateKey, "\n")[1:20], apiKey, kept.Installation.Token, kept.Session.Token, "PRIVATE KEY")
	for _, secret := range secrets {
		if secret == "" || strings.Contains(seen, secret) {
			t.Errorf("%q is empty or shown", secret)
		}
	}
}

func TestRotatedKeyFileIsReadAtTheNextLogin(t *testing.T) {
	api, baseURL := newAPI(t, asItIs)
	folder := t.TempDir()
	file := writeConfig(t, folder, baseURL, 4711)
	writeFile(t, folder, "api_key", "")
	e := start(t, "--config.file="+file)
	if missing := lacks(get(t, e.url+"/metrics"), `bunq_up{account="company"} 0`); missing != nil {
		t.Errorf("without a key, the metrics lack %q", missing)
	}
	e.stderr.find(t, `(the API key file \S+ is empty)`)
	writeFile(t, folder, "api_key", apiKey)
	if missing := lacks(get(t, e.url+"/metrics"), `bunq_up{account="company"} 1`); missing != nil {
		t.Errorf("with a key, the metrics lack %q", missing)
	}
	if n := api.Requests(bunq.CreateDeviceServer); n != 1 {
		t.Errorf("%d registrations, want 1", n)
	}
}
