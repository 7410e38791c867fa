package test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"bunq_exporter/bunq"
)

// secretPaths are all that the exporter serves.
var secretPaths = []string{
	"/metrics", "/probe?account=company", "/metrics/exporter", "/status", "/", "/sd", "/docs/runbooks.md",
}

// untried are the faults that take the whole of a scrape's time, and most of the statuses, whose answers are alike.
var untried = regexp.MustCompile(
	`^(hangs|one byte|pages without end|status 100|status 429|status \d+ ?[A-Z]|status \d+$)`)

// The real program shows no secret, whatever bunq answers.
func TestSecretsStayInside(t *testing.T) {
	t.Parallel()
	a, folder := newAPI(t), t.TempDir()
	faulty := newFaultyAPI(a)
	a.setIntercept(func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("X-Bunq-Warning", "Your token "+r.Header.Get("X-Bunq-Client-Authentication")+" is old.")
		faulty.ServeHTTP(w, r)
		return true
	})
	e := start(t, "--config.file="+writeConfig(t, folder, a.url, 4711), "--log.level=debug", "--log.format=json")
	e.awaitUp("company")
	tried, seen := 0, ""
	for _, f := range faults(t) {
		if slices.Contains(f.calls, bunq.ListDeviceServers) && !untried.MatchString(f.name) {
			faulty.active.Store(&f)
			seen += get(t, e.url+"/metrics", "Accept", "application/openmetrics-text")
			seen += get(t, e.url+"/status")
			tried++
		}
	}
	if tried < 40 {
		t.Errorf("%d faults tried", tried)
	}
	for _, path := range secretPaths {
		seen += get(t, e.url+path, "Accept", "application/openmetrics-text")
	}
	for _, file := range []string{"cmdline", "environ"} {
		seen += readFile(t, fmt.Sprintf("/proc/%d/%s", e.Process.Pid, file))
	}
	seen += e.text()
	if !strings.Contains(seen, "[redacted]") {
		t.Error("no text of bunq is shown, so nothing is tested")
	}
	// The lines of the keys and the tokens have 64 characters.
	secrets := names(readFile(t, filepath.Join(folder, "company.conf")), regexp.MustCompile(`([0-9A-Za-z+/]{64})`))
	if len(secrets) < 27 {
		t.Errorf("%d secrets, want two tokens and the lines of a private key at least", len(secrets))
	}
	secrets[apiKey], secrets["PRIVATE KEY"] = true, true
	for secret := range secrets {
		if strings.Contains(seen, secret) {
			t.Errorf("%q is shown", secret)
		}
	}
	expectFiles(t, folder, "api_key", "company.conf", "company.conf.lock", "config.yml")
}

// expectFiles wants a folder to have these files and no other, readable by their owner alone.
func expectFiles(t *testing.T, folder string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	check(t, err)
	var got []string
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", entry.Name(), info, err)
		}
		got = append(got, entry.Name())
	}
	if !slices.Equal(got, want) {
		t.Errorf("files %q, want %q", got, want)
	}
}
