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
func load(t *testing.T, folder string, lines ...string) *config.Config {
	t.Helper()
	path := filepath.Join(folder, "config.yml")
	write(t, path, "accounts:\n  - name: company\n    device_servers: [1]\n    environment: production\n    "+
		strings.Join(lines, "\n    "))
	c, err := config.Load(path)
	check(t, err)
	return c
}

func TestAPIKey(t *testing.T) {
	file := config.Account{APIKeyFile: filepath.Join(t.TempDir(), "key")}
	write(t, file.APIKeyFile, "\ufeff\n \t"+key+" \r\n\r\n")
	for _, account := range []config.Account{{APIKeyInline: key}, file} {
		if got, err := account.APIKey(); got != key || err != nil {
			t.Errorf("got %q and %v", got, err)
		}
	}
}

// Each folder has a configuration and the files that it names, or some of them, and a golden file of the problems.
func TestCheckFiles(t *testing.T) {
	paths, err := filepath.Glob("testdata/files/*/config.yml")
	if err != nil || len(paths) != 12 {
		t.Fatal(paths, err)
	}
	for _, path := range paths {
		c, err := config.Load(path)
		got := fmt.Sprintln(errors.Join(err, c.CheckFiles()))
		expectGolden(t, strings.Replace(path, "config.yml", "problems.txt", 1), got)
		if strings.Contains(got, key) {
			t.Errorf("%s: the API key is in %s", path, got)
		}
	}
}

// The kernel does not check permissions for root, so the test becomes another user in its own thread, which then
// ends.
func TestReadOnlyFolder(t *testing.T) {
	folder := t.TempDir()
	check(t, errors.Join(os.Chmod(filepath.Dir(folder), 0o755), os.Chmod(folder, 0o555)))
	c := load(t, t.TempDir(), "context_file: "+folder+"/company.conf")
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
		_, _, _ = syscall.RawSyscall(syscall.SYS_SETRESUID, 65534, 65534, 65534)
		result <- c.CheckFiles()
	}()
	if got := fmt.Sprint(<-result); !strings.Contains(got, folder) || !strings.Contains(got, "permission denied") {
		t.Errorf("got %s", got)
	}
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
		c := load(t, folder, test.key, "context_file: company.conf")
		write(t, filepath.Join(folder, "key"), "")
		write(t, filepath.Join(folder, "company.conf"), "")
		path := filepath.Join(folder, test.file)
		check(t, os.Chmod(path, test.mode))
		got := c.Warnings()
		if len(got) != test.want || test.want > 0 && !strings.HasSuffix(got[0], "chmod 600 "+path) {
			t.Errorf("%s with mode %o: got %q", test.file, test.mode, got)
		}
	}
}
