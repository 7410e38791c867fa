package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"bunq_exporter/internal/config"
)

func TestAPIKeyInline(t *testing.T) {
	c, err := config.Load("testdata/valid/complete.yml")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Accounts[1].APIKey(); got != "sandbox_"+key || err != nil {
		t.Errorf("got %q and %v", got, err)
	}
}

func TestAPIKeyFile(t *testing.T) {
	a := config.Account{Name: "company", APIKeyFile: filepath.Join(t.TempDir(), "api_key")}
	for name, test := range map[string]struct{ text, want, problem string }{
		"bare":            {key, key, "<nil>"},
		"rotated":         {"sandbox_" + key, "sandbox_" + key, "<nil>"},
		"white space":     {"\n \t" + key + " \r\n\r\n", key, "<nil>"},
		"byte order mark": {"\ufeff" + key + "\r\n", key, "<nil>"},
		"blank":           {" \n", "", "reading API key: " + a.APIKeyFile + " has 0 words"},
		"two lines":       {key + "\n" + key + "\n", "", "has 2 words"},
		"large":           {strings.Repeat(" ", 16<<20) + key, "", "larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			write(t, a.APIKeyFile, test.text)
			got, err := a.APIKey()
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			contains(t, fmt.Sprint(err), test.problem)
		})
	}
}

func TestAPIKeyFileUnreadable(t *testing.T) {
	folder := t.TempDir()
	if err := syscall.Mkfifo(folder+"/pipe", 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "pipe", "missing"} {
		got, err := config.Account{APIKeyFile: filepath.Join(folder, name)}.APIKey()
		if got != "" || err == nil {
			t.Errorf("%q: got %q and %v, want an error", name, got, err)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// contains checks that the text has all parts and no API key.
func contains(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is missing in:\n%s", part, text)
		}
	}
	if strings.Contains(text, key) {
		t.Errorf("the API key is in:\n%s", text)
	}
}
