//go:build linux

package config_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"bunq_exporter/internal/config"
)

// load loads a configuration with some lines in its only account.
func load(t *testing.T, folder, environment string, lines ...string) *config.Config {
	t.Helper()
	path := filepath.Join(folder, "config.yml")
	write(t, path, "# comment\naccounts:\n  - name: company\n    device_servers: [1]\n    environment: "+environment+
		"\n    "+strings.Join(lines, "\n    "))
	c, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCheckFiles(t *testing.T) {
	const production, sandbox = "production", "sandbox"
	const ofSandbox = `{"environment_type": "SANDBOX"}`
	for _, test := range []struct {
		name, environment, key, context, contextFile string
		problems                                     []string
	}{
		{"no context file", production, key, "", "company.conf", nil},
		{"sandbox", sandbox, "sandbox_" + key, ofSandbox, "company.conf", nil},
		{"no key file", production, "", "", "company.conf", []string{"/key: no such file"}},
		{"sandbox key", production, "sandbox_" + key, "", "company.conf", []string{`environment "production"`}},
		{"production key", sandbox, key, "", "company.conf", []string{`environment "sandbox"`}},
		{"all wrong", production, key + " " + key, "{" + key, "company.conf", []string{"2 words", "/company.conf"}},
		{"other environment", production, key, ofSandbox, "company.conf", []string{"/company.conf"}},
		{"no folder", production, key, "", "missing/company.conf", []string{"/missing"}},
		{"folder is a file", production, key, "", "key/company.conf", []string{"/key/company.conf"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			folder := t.TempDir()
			c := load(t, folder, test.environment, "api_key_file: key", "context_file: "+test.contextFile)
			for name, text := range map[string]string{"key": test.key, "company.conf": test.context} {
				if text != "" {
					write(t, filepath.Join(folder, name), text)
				}
			}
			got := fmt.Sprint(c.CheckFiles())
			n := strings.Count(got, folder+"/config.yml:3: account company: ")
			if n != len(test.problems) || n == 0 && got != "<nil>" {
				t.Errorf("got %s, want %q", got, test.problems)
			}
			contains(t, got, test.problems...)
		})
	}
	if err := load(t, t.TempDir(), sandbox, "api_key: "+key, "context_file: a").CheckFiles(); err == nil {
		t.Error("no problem with a production key in the configuration file")
	}
}

// The kernel does not check permissions for root, so the test becomes another user in its own thread, which then
// ends.
func TestReadOnlyFolder(t *testing.T) {
	folder := t.TempDir()
	if err := errors.Join(os.Chmod(filepath.Dir(folder), 0o755), os.Chmod(folder, 0o555)); err != nil {
		t.Fatal(err)
	}
	c := load(t, t.TempDir(), "production", "context_file: "+folder+"/company.conf")
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
		_, _, _ = syscall.RawSyscall(syscall.SYS_SETRESUID, 65534, 65534, 65534)
		result <- c.CheckFiles()
	}()
	contains(t, fmt.Sprint(<-result), folder, "permission denied")
}

func TestWarnings(t *testing.T) {
	for _, test := range []struct {
		key  string // in the configuration
		file string // with the mode; the others have 0600
		mode os.FileMode
		want int
	}{
		{"api_key_file: key", "key", 0o600, 0},
		{"api_key_file: key", "key", 0o640, 1},
		{"api_key_file: key", "company.conf", 0o604, 1},
		{"api_key_file: key", "config.yml", 0o644, 0},
		{"api_key: " + key, "config.yml", 0o644, 1},
	} {
		folder := t.TempDir()
		c := load(t, folder, "production", test.key, "context_file: company.conf")
		write(t, filepath.Join(folder, "key"), "")
		write(t, filepath.Join(folder, "company.conf"), "")
		path := filepath.Join(folder, test.file)
		if err := os.Chmod(path, test.mode); err != nil {
			t.Fatal(err)
		}
		got := c.Warnings()
		if len(got) != test.want || test.want > 0 && !strings.HasSuffix(got[0], "chmod 600 "+path) {
			t.Errorf("%s with mode %o: got %q", test.file, test.mode, got)
		}
	}
}
