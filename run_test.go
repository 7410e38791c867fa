package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"bunq_exporter/bunq"
)

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
