package test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestSecretsStayInside(t *testing.T) {
	t.Parallel()
	a, folder := newAPI(t), t.TempDir()
	quote := func(answer bool) {
		a.setIntercept(func(w http.ResponseWriter, r *http.Request) bool {
			token := r.Header.Get("X-Bunq-Client-Authentication")
			w.Header().Set("X-Bunq-Warning", "Your token "+token+" is old.")
			if !answer || r.Method != http.MethodGet {
				return false
			}
			w.WriteHeader(http.StatusBadRequest)
			_, _ = fmt.Fprintf(w, `{"Error":[{"error_description":"Key %s and token %s are odd."}]}`, apiKey, token)
			return true
		})
	}
	quote(false)
	e := start(t, "--config.file="+writeConfig(t, folder, a.url, 4711), "--log.level=debug", "--log.format=json")
	seen := readFile(t, fmt.Sprintf("/proc/%d/cmdline", e.Process.Pid))
	for _, errors := range []bool{false, true} {
		quote(errors)
		for _, path := range []string{"/metrics", "/probe?account=company", "/status", "/", "/sd"} {
			seen += get(t, e.url+path, "Accept", "application/openmetrics-text")
		}
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
}
