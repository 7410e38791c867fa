package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bunq_exporter/internal/config"
)

func TestAPIKey(t *testing.T) {
	if got, err := (config.Account{APIKeyInline: key}).APIKey(); got != key || err != nil {
		t.Errorf("inline: got %q and %v", got, err)
	}
	folder := t.TempDir()
	for name, test := range map[string]struct{ file, text, want, problem string }{
		"bare":            {"key", key, key, "<nil>"},
		"white space":     {"key", "\n \t" + key + " \r\n\r\n", key, "<nil>"},
		"byte order mark": {"key", "\ufeff" + key + "\r\n", key, "<nil>"},
		"blank":           {"key", " \n", "", "reading API key: " + folder + "/key has 0 words"},
		"two lines":       {"key", key + "\n" + key + "\n", "", "has 2 words"},
		"missing":         {"missing", "", "", "no such file"},
	} {
		write(t, folder+"/key", test.text)
		got, err := config.Account{APIKeyFile: filepath.Join(folder, test.file)}.APIKey()
		if got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
		contains(t, fmt.Sprint(err), test.problem)
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
