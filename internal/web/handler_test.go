package web_test

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"bunq_exporter/internal/web"
)

func TestServiceDiscovery(t *testing.T) {
	account, _ := newAccount(t, "company")
	w := request(newHandler(t, newOptions(account)), "GET", "https://exporter.example:10059/sd")
	want := `[{"labels":{"__always_scrape_classic_histograms__":"true",` +
		`"__metrics_path__":"/metrics/exporter","__scheme__":"https",` +
		`"instance":"exporter.example:10059"},"targets":["exporter.example:10059"]},` +
		`{"labels":{"__always_scrape_classic_histograms__":"true","__metrics_path__":"/probe","__param_account":"company","__scheme__":"https",` +
		`"instance":"exporter.example:10059/company"},"targets":["exporter.example:10059"]}]` + "\n"
	// Prometheus accepts no other Content-Type.
	if got := w.Body.String(); got != want || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("%s: %s, want %s", w.Header().Get("Content-Type"), got, want)
	}
}

func TestLifecycle(t *testing.T) {
	options := newOptions()
	disabled := newHandler(t, options)
	options.Reload = func() error { return nil }
	enabled := newHandler(t, options)
	options.Reload = func() error { return errors.New("config.yml:3: invalid") }
	failing := newHandler(t, options)
	failing.Stop()
	if w := request(enabled, "POST", "/-/reload", "Sec-Fetch-Site", "cross-site"); w.Code != http.StatusForbidden {
		t.Errorf("a reload from another site: status %d", w.Code)
	}
	for _, test := range []struct {
		handler      *web.Handler
		method, path string
		status       int
		text         string
	}{
		{enabled, "GET", "/-/healthy", 200, "healthy"},
		{enabled, "GET", "/-/ready", 200, "ready"},
		{enabled, "POST", "/-/reload", 200, "Reloaded"},
		{enabled, "GET", "/-/reload", 405, ""},
		{enabled, "GET", "/nothing", 404, ""},
		{disabled, "POST", "/-/reload", 403, "--web.enable-lifecycle"},
		{failing, "POST", "/-/reload", 500, "config.yml:3: invalid"},
		{failing, "GET", "/-/ready", 503, "shutting down"},
		{failing, "GET", "/-/healthy", 200, "healthy"},
	} {
		w := request(test.handler, test.method, test.path)
		if w.Code != test.status || !strings.Contains(w.Body.String(), test.text) {
			t.Errorf("%s %s: %d %q, want %d and %q", test.method, test.path, w.Code, w.Body, test.status, test.text)
		}
	}
}

func TestTelemetryPathInvalid(t *testing.T) {
	for _, path := range []string{
		"", "/", "metrics", "/metrics/", "/a b", "/{id}", "/a/../b", "/./a",
		"/metrics/exporter", "/status", "/docs/runbooks.md", "/-/ready", "/-/reload",
	} {
		_, err := web.New(web.Options{TelemetryPath: path, Requests: prometheus.NewRegistry()})
		if err == nil || !strings.Contains(err.Error(), "/metrics") {
			t.Errorf("%q: %v, want an error with an example", path, err)
		}
	}
}

var styleOfPage = regexp.MustCompile(`(?s)<style>(.+)</style>`)

func TestPages(t *testing.T) {
	options := newOptions()
	options.TelemetryPath = "/bunq/metrics"
	handler := newHandler(t, options)
	for path, content := range map[string][]string{
		"/":       {`href="/status"`, `href="/docs/runbooks.md"`, `href="/bunq/metrics"`, `href="/sd"`, "1.2.3"},
		"/status": {"<title>Status – bunq_exporter</title>", ">Runbooks</a>", `href="/bunq/metrics">Metrics</a>`},
		"/docs/runbooks.md": {
			"<table>", `href="#bunqdeviceserverblocked"`, `<h2 id="bunqdeviceserverblocked">BunqDeviceServerBlocked</h2>`,
		},
	} {
		w := request(handler, "GET", path)
		expect(t, w.Body.String(), append(content, "<!DOCTYPE html>", `<a class="name" href="/">`, "</html>")...)
		style := styleOfPage.FindSubmatch(w.Body.Bytes())
		if style == nil {
			t.Fatalf("%s has no style", path)
		}
		hash := sha256.Sum256(style[1])
		for header, want := range map[string]string{
			"Content-Type":           "text/html; charset=utf-8",
			"X-Content-Type-Options": "nosniff",
			"Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
				"img-src data:; style-src 'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) + "'",
		} {
			if got := w.Header().Get(header); got != want {
				t.Errorf("%s: %s is %q, want %q", path, header, got, want)
			}
		}
	}
}
