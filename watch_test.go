package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"bunq_exporter/bunq"
)

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
	if missing := lacks(get(t, e.url+"/metrics"), `bunq_api_requests_total{account="company",code="200",endpoint="device-server",method="GET"} 4`); missing != nil {
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
