package config_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bunq_exporter/config"
)

func TestAPIKey(t *testing.T) {
	for name, a := range map[string]config.Account{
		"":  {},
		key: {APIKeyInline: key},
	} {
		if got, err := a.APIKey(); got != name || err != nil {
			t.Errorf("APIKey returned %q and %v, want %q", got, err, name)
		}
	}
}

func TestAPIKeyFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "api_key")
	a := config.Account{Name: "company", APIKeyFile: file}
	for _, test := range []struct{ name, text, want, problem string }{
		{"bare", key, key, ""},
		{"rotated", "sandbox_" + key, "sandbox_" + key, ""},
		{"line", key + "\n", key, ""},
		{"white space", "\n \t" + key + " \r\n\r\n", key, ""},
		{"Windows", "\ufeff" + key + "\r\n", key, ""},
		{"empty", "", "", "is empty; put the key there, or leave api_key_file out"},
		{"blank", " \n", "", "is empty; put the key there, or leave api_key_file out"},
		{"two lines", key + "\n" + key + "\n", "", "holds more than one line or word; put nothing but the key there"},
		{"two words", "key: " + key, "", "holds more than one line or word; put nothing but the key there"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := os.WriteFile(file, []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := a.APIKey()
			if got != test.want {
				t.Errorf("the key is %q, want %q", got, test.want)
			}
			if test.problem == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if want := "account company: the API key file " + file + " " + test.problem; err == nil || err.Error() != want {
				t.Errorf("the error is %q, want %q", err, want)
			}
		})
	}
}

func TestAPIKeyFileUnreadable(t *testing.T) {
	folder := t.TempDir()
	for file, cause := range map[string]string{
		filepath.Join(folder, "missing"): "no such file or directory",
		folder:                           "is a directory",
	} {
		got, err := config.Account{Name: "company", APIKeyFile: file}.APIKey()
		want := "account company: the API key file " + file + " cannot be read: " + cause +
			"; put the key there, or let the exporter's user read it"
		if got != "" || err == nil || err.Error() != want {
			t.Errorf("APIKey returned %q and %q, want %q", got, err, want)
		}
		if strings.HasSuffix(file, "missing") && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v does not wrap its cause", err)
		}
	}
}
