package test

import (
	"crypto/tls"
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
	check(t, err)
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
		{"web not a file", []string{"--config.check", valid, "--web.config.file=/dev/null"}, 1, "not a regular file"},
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
		{"read limit fraction", []string{"--bunq.read-limit=2.7"}, 2, "invalid syntax"},
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
	folder, certificate := t.TempDir(), readFile(t, "testdata/tls/certificate.pem")
	for name, text := range map[string]string{
		"web-config.yml": readFile(t, "../deploy/web-config.yml"), "client_ca.crt": certificate,
		"server.crt": certificate, "server.key": readFile(t, "testdata/tls/key.pem"),
	} {
		writeFile(t, folder, name, text)
	}
	e := start(t, "--demo", "--web.config.file="+filepath.Join(folder, "web-config.yml"))
	pair, err := tls.LoadX509KeyPair("testdata/tls/certificate.pem", "testdata/tls/key.pem")
	check(t, err)
	status := func(path, user string, certificates ...tls.Certificate) int {
		server := &tls.Config{Certificates: certificates, InsecureSkipVerify: true} //nolint:gosec // is not what is tested
		client := http.Client{Transport: &http.Transport{TLSClientConfig: server, DisableKeepAlives: true}}
		response, err := client.Get("https://" + user + e.address() + path)
		if err != nil {
			return 0
		}
		_ = response.Body.Close()
		return response.StatusCode
	}
	for _, path := range []string{"/", "/metrics", "/metrics/exporter", "/status", "/probe?account=demo", "/sd", "/-/ready"} {
		for _, got := range [][2]int{
			{status(path, "prometheus:open%20sesame@"), 0}, {status(path, "", pair), 401},
			{status(path, "prometheus:open@", pair), 401}, {status(path, "prometheus:open%20sesame@", pair), 200},
		} {
			if got[0] != got[1] {
				t.Errorf("%s: status %d, want %d", path, got[0], got[1])
			}
		}
	}
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
