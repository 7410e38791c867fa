package config_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bunq_exporter/internal/config"
)

var update = flag.Bool("update", false, "update the golden files")

// key is every API key in testdata, and looks like bunq's.
const key = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// Each file has a golden file, with its accounts or problems. Most of the invalid ones break one rule.
func TestLoad(t *testing.T) {
	paths, err := filepath.Glob("testdata/*/*.yml")
	check(t, err)
	for _, path := range append(paths, "testdata/invalid/missing.yml") {
		t.Run(path, func(t *testing.T) {
			golden := strings.TrimSuffix(path, ".yml")
			c, err := config.Load(path)
			got := fmt.Sprintln(err)
			if err != nil {
				golden += ".txt"
			} else {
				text, _ := json.MarshalIndent(c.Accounts, "", "  ")
				golden, got = golden+".json", string(text)+"\n"
			}
			expectGolden(t, golden, got)
		})
	}
}

// What is commented out is valid too, each key by itself. Comments for people begin otherwise.
func TestExample(t *testing.T) {
	const path = "../../config.yml.example"
	text := read(t, path)
	for key := range config.AccountKeys {
		if !regexp.MustCompile(`(?m)^ +(- |# )?` + key + `: \S`).MatchString(text) {
			t.Errorf("%s is not in the example", key)
		}
	}
	commented := regexp.MustCompile(`(?m)^( +)# ([a-z_]+:)|\A`) // and nothing, once
	for _, match := range commented.FindAllStringSubmatch(text, -1) {
		text := strings.Replace(text, match[0], match[1]+match[2], 1)
		if match[2] == "api_key:" {
			text = strings.Replace(text, "    api_key_file:", "    #", 1)
		}
		if c, err := config.Parse(path, []byte(text)); err != nil || len(c.Accounts) != 2 {
			t.Errorf("with %q: got %v and %v, want two accounts", match[2], c, err)
		}
	}
}

// large returns a configuration of n accounts, with a text before the second half of them.
func large(n int, middle string) []byte {
	var text strings.Builder
	text.WriteString("accounts:\n")
	for i := range n {
		if i == n/2 {
			text.WriteString(middle)
		}
		fmt.Fprintf(&text, "  - name: account%d\n    environment: production\n    context_file: %[1]d.conf\n", i)
		fmt.Fprintf(&text, "    permitted_ips: [192.0.2.1]\n    device_servers: [%d]\n", i+1)
	}
	return []byte(text.String())
}

// Allocations are counted because they grow like the time and do not depend on the machine.
func TestLoadIsLinear(t *testing.T) {
	for name, text := range map[string]func(n int) []byte{
		"valid":        func(n int) []byte { return large(n, "") },
		"tab":          func(n int) []byte { return large(n, "\tname: last\n") },
		"quote":        func(n int) []byte { return large(n, "    description: \"\n") },
		"key twice":    func(n int) []byte { return bytes.Repeat([]byte("accounts: []\n"), n) },
		"no hyphens":   func(n int) []byte { return bytes.ReplaceAll(large(n, ""), []byte("  - "), []byte("    ")) },
		"unknown keys": func(n int) []byte { return large(n, strings.Repeat("    timeout: 5s\n", n)) },
	} {
		allocations := func(n int) float64 {
			text := text(n)
			return testing.AllocsPerRun(1, func() { _, _ = config.Parse("config.yml", text) })
		}
		if small, large := allocations(250), allocations(1000); large > 5*small {
			t.Errorf("%s: %.0f allocations for 250 accounts, %.0f for 1,000", name, small, large)
		}
	}
	_, err := config.Parse("config.yml", large(1000, "\tname: last\n"))
	if err == nil || !strings.HasPrefix(err.Error(), "config.yml:2502: invalid YAML") {
		t.Errorf("got %v, want the line of the tab", err)
	}
}

func expectGolden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		write(t, path, got)
	}
	if diff := cmp.Diff(read(t, path), got); diff != "" {
		t.Errorf("%s: -want +got:\n%s", path, diff)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	check(t, err)
	return string(text)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	check(t, os.WriteFile(path, []byte(text), 0o600))
}
