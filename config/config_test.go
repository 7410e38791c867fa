package config_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bunq_exporter/bunq"
	"bunq_exporter/config"
)

var update = flag.Bool("update", false, "write what the tests get to the files that they compare it with")

// key is every API key in testdata, and looks like bunq's.
const key = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// account returns an account with what most of the valid files have, changed by the caller.
func account(name string, change func(*config.Account)) config.Account {
	a := config.Account{
		Name:          name,
		Environment:   bunq.Production,
		ContextFile:   "testdata/valid/" + name + ".conf",
		Description:   "bunq_exporter",
		DeviceServers: []int64{4711, 4712},
	}
	if change != nil {
		change(&a)
	}
	return a
}

var complete = []config.Account{
	account("company", func(a *config.Account) {
		a.BaseURL = "https://bunq.example.com/v1/"
		a.APIKeyFile = "testdata/valid/secrets/api_key"
		a.Description = "Laptop in the hall"
		a.PermittedIPs = []string{"192.0.2.1", "2001:db8::1", "*"}
		a.DeviceServers = []int64{4711, 9223372036854775807}
	}),
	account("play_ground-2", func(a *config.Account) {
		a.Environment = bunq.Sandbox
		a.APIKeyInline = "sandbox_" + key
		a.ContextFile = "/var/lib/bunq_exporter/playground.conf"
		a.DeviceServers = []int64{1}
	}),
}

func TestLoad(t *testing.T) {
	shared := func(ips ...string) func(*config.Account) {
		return func(a *config.Account) { a.Environment, a.PermittedIPs = bunq.Sandbox, ips }
	}
	at := func(url string) func(*config.Account) {
		return func(a *config.Account) { a.BaseURL = url }
	}
	for name, want := range map[string][]config.Account{
		"complete": complete,
		"minimal":  {account("company", nil)},
		"nothing":  {account("company", nil)},
		"loopback": {
			account("company", at("http://localhost:8080/v1")),
			account("four", at("http://127.1.2.3/v1")),
			account("six", at("http://[::1]:8080/v1")),
		},
		"aliases": {
			account("company", shared("192.0.2.1")),
			account("private", shared("192.0.2.1")),
			account("savings", func(a *config.Account) {
				shared("192.0.2.1", "*")(a)
				a.DeviceServers = []int64{4711}
			}),
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := config.Load("testdata/valid/" + name + ".yml")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&config.Config{Accounts: want}, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// Editors on Windows write a byte order mark and other line ends.
func TestParseTextOfWindows(t *testing.T) {
	path := "testdata/valid/complete.yml"
	text := read(t, path)
	text = "\ufeff" + strings.ReplaceAll(text, "\n", "\r\n")
	got, err := config.Parse(path, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&config.Config{Accounts: complete}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Each file breaks one rule, and gets one problem.
func TestLoadInvalid(t *testing.T) {
	paths, err := filepath.Glob("testdata/invalid/*.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(paths, "testdata/invalid/missing.yml") {
		name := strings.TrimSuffix(filepath.Base(path), ".yml")
		t.Run(name, func(t *testing.T) {
			got, err := config.Load(path)
			var problems *config.Error
			if got != nil || !errors.As(err, &problems) {
				t.Fatalf("Load returned %v and %v, want nil and a *config.Error", got, err)
			}
			compare(t, strings.TrimSuffix(path, ".yml")+".txt", err.Error()+"\n")
			byLine := slices.IsSortedFunc(problems.Problems, func(a, b config.Problem) int { return a.Line - b.Line })
			if n := len(problems.Problems); (n == 1) == (name == "many") || !byLine {
				t.Errorf("%d problems, want one (or many, by line):\n%v", n, err)
			}
		})
	}
}

// A golden file whose test is gone would go unnoticed.
func TestInvalidHasNoOrphans(t *testing.T) {
	goldens, err := filepath.Glob("testdata/invalid/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, golden := range goldens {
		path := strings.TrimSuffix(golden, ".txt") + ".yml"
		if _, err := os.Stat(path); err != nil && filepath.Base(path) != "missing.yml" {
			t.Error(err)
		}
	}
}

func FuzzLoad(f *testing.F) {
	paths, err := filepath.Glob("testdata/*/*.yml")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range paths {
		if text, err := os.ReadFile(path); err == nil { // one of them is a folder
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > 4<<10 {
			t.Skip() // finding the line of an error takes time that grows with the square of the number of lines
		}
		got, err := config.Parse("config.yml", text)
		var problems *config.Error
		switch {
		case err == nil && len(got.Accounts) == 0:
			t.Error("neither an account nor a problem")
		case err == nil:
		case got != nil || !errors.As(err, &problems) || len(problems.Problems) == 0:
			t.Errorf("Parse returned %v and %v, want nil and problems", got, err)
		case strings.Contains(err.Error(), key):
			t.Errorf("the problems quote the key: %v", err)
		}
	})
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// compare compares with a golden file, or writes it if -update was given.
func compare(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(read(t, path), got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
