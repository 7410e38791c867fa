package test

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// runToEnd runs the program with arguments that end it.
func runToEnd(t *testing.T, args ...string) (code int, text string) {
	t.Helper()
	e := launch(t, args...)
	code = e.wait()
	return code, e.text()
}

func TestExitStatus(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	valid := "--config.file=" + writeConfig(t, folder, "https://api.example/v1", 1)
	invalid := "--config.file=" + writeFile(t, folder, "invalid.yml", "accounts:\n  - name: a b\n    environment: moon\n")
	web := "--web.config.file=" + writeFile(t, folder, "web.yml", "tls_server_confg: {}\n")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	used := "listen-address=" + listener.Addr().String()
	for _, test := range []struct {
		name string
		args []string
		code int
		want string // in the output
	}{
		{"help", []string{"--help"}, 0, "usage: bunq_exporter"},
		{"version", []string{"--version"}, 0, "bunq_exporter, version"},
		{"valid", []string{"--config.check", valid}, 0, "SUCCESS: "},
		{"invalid", []string{"--config.check", invalid}, 1, "invalid.yml:2: "},
		{"both invalid", []string{"--config.check", invalid, web}, 1, "web.yml: "},
		{"missing", []string{"--config.check", "--config.file=missing.yml"}, 1, "missing.yml"},
		{"invalid at start", []string{invalid}, 1, "invalid.yml:2: "},
		{"missing at start", []string{"--config.file=missing.yml"}, 1, "missing.yml"},
		{"invalid web at start", []string{valid, web}, 1, "web.yml: "},
		{"address in use", []string{"--demo", "--web." + used}, 1, "address already in use"},
		{"demo address in use", []string{"--demo", "--demo." + used}, 1, "Failed to start the simulated API"},
		{"unknown flag", []string{"--confg.file=x"}, 2, "try --help"},
		{"argument", []string{"extra"}, 2, "try --help"},
		{"log level", []string{"--log.level=loud"}, 2, "debug,info,warn,error"},
		{"timeout offset", []string{"--scrape.timeout-offset=-1s"}, 2, "must not be negative"},
		{"read limit low", []string{"--bunq.read-limit=0"}, 2, "must be from 1 to 3"},
		{"read limit high", []string{"--bunq.read-limit=4"}, 2, "must be from 1 to 3"},
		{"telemetry path", []string{"--demo", "--web.telemetry-path=/status"}, 2, "/status"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if code, text := runToEnd(t, test.args...); code != test.code || !strings.Contains(text, test.want) {
				t.Errorf("exit status %d: %s", code, text)
			}
		})
	}
	if _, err := os.Stat(filepath.Join(folder, "company.conf")); !os.IsNotExist(err) {
		t.Errorf("--config.check made a context file: %v", err)
	}
}

var helpFlag = regexp.MustCompile(`(?m)^ {2,6}(?:-h, )?--(?:\[no-\])?([a-z.-]+)`)

func TestFlagsInEnvironment(t *testing.T) {
	t.Setenv("BUNQ_EXPORTER_CONFIG_FILE", writeConfig(t, t.TempDir(), "https://api.example/v1", 1))
	t.Setenv("BUNQ_EXPORTER_CONFIG_CHECK", "true")
	t.Setenv("BUNQ_EXPORTER_VERSION", "1.2.3") // container images may set it: not a flag
	if code, text := runToEnd(t); code != 0 || !strings.HasPrefix(text, "SUCCESS") {
		t.Errorf("exit status %d: %s", code, text)
	}
	_, help := runToEnd(t, "--help")
	for flag := range names(help, helpFlag) {
		variable := "$BUNQ_EXPORTER_" + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(flag))
		if strings.Contains(help, variable) == (flag == "help" || flag == "version") {
			t.Errorf("--%s: %s is missing, or should be", flag, variable)
		}
	}
}

// build builds the program as the Dockerfile does, except for the version.
func build(t testing.TB, flags ...string) (binary string) {
	t.Helper()
	binary = filepath.Join(t.TempDir(), "bunq_exporter")
	args := []string{"CGO_ENABLED=0", "go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary}
	run(t, "..", "env", append(append(args, flags...), ".")...)
	return binary
}

func TestVersionOfPlainBuild(t *testing.T) {
	t.Parallel()
	if info, err := os.Stat("../.git"); err != nil || !info.IsDir() { // go build knows no worktrees
		t.Skip("not a clone")
	}
	revision := strings.TrimSpace(run(t, "..", "git", "rev-parse", "HEAD"))
	got := run(t, ".", build(t, "-buildvcs=true"), "--version")
	if !regexp.MustCompile(`version v\d\S+ \(.*revision: ` + revision).MatchString(got) {
		t.Errorf("revision %s: %s", revision, got)
	}
}

func TestWebConfigProtectsAllPaths(t *testing.T) {
	t.Parallel()
	// The password is "open sesame".
	const users = "basic_auth_users:\n  prometheus: $2a$04$kLsfllgp8YCDGMHaAoKD3eqUqwwB2PN5cwePdmOctOIqiQLwMkev6\n"
	e := start(t, "--demo", "--web.config.file="+writeFile(t, t.TempDir(), "web.yml", users))
	for _, path := range []string{"/", "/metrics", "/metrics/exporter", "/status", "/probe", "/sd", "/-/ready"} {
		status, _, err := call(t.Context(), http.MethodGet, e.url+path)
		if status != http.StatusUnauthorized {
			t.Errorf("%s: status %d, %v, want 401", path, status, err)
		}
	}
	e.url = strings.Replace(e.url, "http://", "http://prometheus:open%20sesame@", 1)
	expectLines(t, e.scrape(), `bunq_up{account="demo"} 1`)
}

// Each line has each key once. The address in a message of net/http must not become the caller.
func TestLogFormat(t *testing.T) {
	t.Parallel()
	file := "--config.file=" + writeConfig(t, t.TempDir(), newAPI(t).url, 4711)
	logfmt, jsons := start(t, file, "--web.config.file=testdata/tls/web.yml"), start(t, file, "--log.format=json")
	_, _, _ = call(t.Context(), http.MethodGet, logfmt.url) // without TLS
	logfmt.find(`(msg="http: TLS handshake error from 127\.0\.0\.1:)`)
	logfmt.stop()
	jsons.stop()
	for line := range strings.Lines(logfmt.text()) {
		for _, key := range []string{"time=", "level=", "caller=", "msg="} {
			if strings.Count(line, key) != 1 {
				t.Errorf("%d times %s: %s", strings.Count(line, key), key, line)
			}
		}
	}
	for line := range strings.Lines(jsons.text()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %s", line)
		}
	}
}
