package config_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"bunq_exporter/bunq"
	"bunq_exporter/internal/config"
)

// drawConfig draws valid accounts, and a configuration of them.
func drawConfig(t *rapid.T) (accounts []config.Account, text string) {
	text = "accounts:\n"
	names := rapid.SliceOfNDistinct(rapid.StringMatching(`[A-Za-z0-9_-]{1,9}`), 1, 4, rapid.ID).Draw(t, "names")
	for i, name := range names {
		a := config.Account{Name: name, ContextFile: fmt.Sprintf("%d.conf", i), Description: "bunq_exporter"}
		a.Environment = []bunq.Environment{bunq.Production, bunq.Sandbox}[i%2]
		text += fmt.Sprintf("- name: %q\n  environment: %s\n  context_file: %s\n", name, a.Environment, a.ContextFile)
		maybe := func(key string, into *string, values *rapid.Generator[string]) {
			if rapid.Bool().Draw(t, key) {
				*into = values.Draw(t, key)
				text += fmt.Sprintf("  %s: %+q\n", key, *into)
			}
		}
		isText := func(s string) bool { return strings.TrimSpace(s) != "" }
		maybe("description", &a.Description, rapid.String().Filter(isText))
		maybe("base_url", &a.BaseURL, rapid.SampledFrom([]string{"https://bunq.example/v1", "http://[::1]:8080/v1"}))
		if maybe("api_key", &a.APIKeyInline, rapid.Just("sandbox_"+key)); a.APIKeyInline == "" {
			maybe("api_key_file", &a.APIKeyFile, rapid.SampledFrom([]string{"key", "/run/secrets/ü key"}))
		}
		a.PermittedIPs = []string{"192.0.2.1", "2001:db8::1", "*"}[rapid.IntRange(0, 3).Draw(t, "permitted_ips"):]
		ids := rapid.SliceOfNDistinct(rapid.Int64Min(1), 1, 5, rapid.ID).Draw(t, "ids")
		known := rapid.IntRange(0, len(ids)).Draw(t, "known")
		a.DeviceServers = config.DeviceServers{IDs: ids[known:], Known: ids[:known], All: known == len(ids)}
		watched := list(ids[known:])
		if a.DeviceServers.All {
			watched = "all"
		}
		text += "  device_servers: " + watched + "\n  known_device_servers: " + list(ids[:known]) + "\n"
		text += "  permitted_ips: " + list(a.PermittedIPs) + "\n"
		accounts = append(accounts, a)
	}
	return accounts, text
}

// list returns a list in YAML.
func list(values any) string {
	text, _ := json.Marshal(values) // of text and numbers
	return string(text)
}

func TestConfigValid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want, text := drawConfig(t)
		got, err := config.Parse("config.yml", []byte(text))
		if err != nil || !cmp.Equal(want, got.Accounts, cmpopts.EquateEmpty()) {
			t.Errorf("want %+v, got %+v and %v from\n%s", want, got, err, text)
		}
	})
}

var (
	problemLine = regexp.MustCompile(`^config\.yml:(\d+): \P{C}+$`)
	likeKey     = regexp.MustCompile(`[0-9A-Za-z]{32}`)
	lineBreaks  = regexp.MustCompile("\r\n|[\r\n\u0085\u2028\u2029]") // of YAML
)

// FuzzLoad loads a text and wants accounts, or problems in its lines that quote no API key.
func FuzzLoad(f *testing.F) {
	paths, _ := filepath.Glob("testdata/*/*.yml")
	for _, path := range paths {
		text, _ := os.ReadFile(path) // one of them is a folder
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := config.Parse("config.yml", text)
		if err == nil && len(got.Accounts) > 0 {
			return
		}
		end := 2 + len(lineBreaks.FindAll(text, -1))
		for line := range strings.SplitSeq(fmt.Sprint(err), "\n") {
			match := append(problemLine.FindStringSubmatch(line), "", "")
			if n, _ := strconv.Atoi(match[1]); n < 1 || n > end || len(line) > 300 || likeKey.MatchString(line) {
				t.Errorf("the error is %q", line)
			}
		}
	})
}
