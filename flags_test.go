package main

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// runOnce runs the program with a context that has ended, so that it does not serve for long.
func runOnce(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	out, err := newBuffer(), newBuffer()
	code = run(ctx, args, out, err)
	return code, out.String(), err.String()
}

func TestHelpNamesEveryFlagAndItsVariable(t *testing.T) {
	code, stdout, stderr := runOnce(t, "--help")
	if code != exitOK || stderr != "" {
		t.Errorf("exit status %d, stderr %q", code, stderr)
	}
	for _, flag := range []string{
		"config.file", "config.check", "demo", "demo.listen-address", "web.listen-address", "web.config.file", "web.systemd-socket",
		"web.telemetry-path", "web.enable-lifecycle", "web.disable-exporter-metrics", "scrape.timeout-offset", "log.level", "log.format",
	} {
		variable := "BUNQ_EXPORTER_" + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(flag))
		if !regexp.MustCompile(`--(\[no-\])?`+regexp.QuoteMeta(flag)+`\b`).MatchString(stdout) || !strings.Contains(stdout, "$"+variable) {
			t.Errorf("the help lacks --%s or %s:\n%s", flag, variable, stdout)
		}
	}
	if code, stdout, _ := runOnce(t, "--version"); code != exitOK || !strings.HasPrefix(stdout, "bunq_exporter, version") {
		t.Errorf("--version: exit status %d, %q", code, stdout)
	}
}

func TestWrongUsageIsExplained(t *testing.T) {
	valid := writeConfig(t, t.TempDir(), "https://api.example/v1", 1)
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"--confg.file=x"}, "bunq_exporter: unknown long flag '--confg.file', try --help\n"},
		{[]string{"extra"}, "bunq_exporter: unexpected extra, try --help\n"},
		{[]string{"--log.level=loud"}, "bunq_exporter: enum value must be one of debug,info,warn,error, got 'loud', try --help\n"},
		{[]string{"--scrape.timeout-offset=-1s"}, "bunq_exporter: --scrape.timeout-offset must not be negative, try --help\n"},
		{[]string{"--config.file=missing.yml"}, "missing.yml: cannot be read: no such file or directory; copy config.yml.example to begin with, or correct the path\n"},
		{[]string{"--config.file=" + valid, "--web.config.file=missing.yml"}, "missing.yml: open missing.yml: no such file or directory\n"},
		{[]string{"--config.file=" + valid, "--web.telemetry-path=/status"}, `the telemetry path \"/status\" is not usable`},
	} {
		code, stdout, stderr := runOnce(t, test.args...)
		if code != exitUsage || stdout != "" || !strings.Contains(stderr, test.want) {
			t.Errorf("%q: exit status %d, stdout %q, stderr %q, want 2 and %q", test.args, code, stdout, stderr, test.want)
		}
	}
}

func TestConfigCheck(t *testing.T) {
	folder := t.TempDir()
	valid := writeConfig(t, folder, "https://api.example/v1", 1)
	wrong := writeFile(t, folder, "wrong.yml", "accounts:\n  - name: a b\n    environment: test\n")
	webWrong := writeFile(t, folder, "web.yml", "tls_server_confg: {}\n")
	if err := os.Remove(filepath.Join(folder, "api_key")); err != nil { // what is checked is the file, not what it names
		t.Fatal(err)
	}
	if code, stdout, _ := runOnce(t, "--config.check", "--config.file="+valid); code != exitOK || stdout != "SUCCESS: "+valid+" is valid\n" {
		t.Errorf("a valid file: exit status %d, %q", code, stdout)
	}
	code, _, stderr := runOnce(t, "--config.check", "--config.file="+wrong, "--web.config.file="+webWrong)
	if code != exitFailed {
		t.Errorf("a wrong file: exit status %d, want 1", code)
	}
	for _, want := range []string{wrong + ":2: name has characters", wrong + ":3: environment is unknown", "device_servers is missing", webWrong + ": "} {
		if !strings.Contains(stderr, want) {
			t.Errorf("the problems lack %q:\n%s", want, stderr)
		}
	}
	if _, err := os.Stat(filepath.Join(folder, "company.conf")); !os.IsNotExist(err) {
		t.Errorf("the check made a context file: %v", err)
	}
}

func TestFlagsComeFromTheEnvironmentToo(t *testing.T) {
	t.Setenv("BUNQ_EXPORTER_CONFIG_FILE", writeConfig(t, t.TempDir(), "https://api.example/v1", 1))
	t.Setenv("BUNQ_EXPORTER_CONFIG_CHECK", "true")
	t.Setenv("BUNQ_EXPORTER_VERSION", "1.2.3") // as container images like to have it: not a flag
	if code, stdout, stderr := runOnce(t); code != exitOK || !strings.HasPrefix(stdout, "SUCCESS") {
		t.Errorf("exit status %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}

func TestAddressInUseIsSaid(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed with the test
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	address := listener.Addr().String()
	out, logged := newBuffer(), newBuffer()
	if code := run(t.Context(), []string{"--demo", "--web.listen-address=" + address}, out, logged); code != exitFailed || !strings.Contains(logged.String(), "address already in use") {
		t.Errorf("exit status %d, log:\n%s", code, logged)
	}
	if code := run(t.Context(), []string{"--demo", "--demo.listen-address=" + address}, out, logged); code != exitFailed || !strings.Contains(logged.String(), "Cannot start the simulated API") {
		t.Errorf("exit status %d, log:\n%s", code, logged)
	}
}

func TestWebConfigProtectsEveryPage(t *testing.T) {
	// The password is "open sesame".
	file := writeFile(t, t.TempDir(), "web.yml", "basic_auth_users:\n  prometheus: $2a$04$kLsfllgp8YCDGMHaAoKD3eqUqwwB2PN5cwePdmOctOIqiQLwMkev6\n")
	e := start(t, "--demo", "--web.config.file="+file)
	for _, path := range []string{"/", "/metrics", "/status", "/probe", "/sd", "/-/ready"} {
		response, err := http.Get(e.url + path) //nolint:noctx // ends with the test
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s answers %d without a password, want 401", path, response.StatusCode)
		}
	}
	e.url = strings.Replace(e.url, "http://", "http://prometheus:open%20sesame@", 1)
	if missing := lacks(get(t, e.url+"/metrics"), `bunq_up{account="demo"} 1`); missing != nil {
		t.Errorf("with the password, the metrics lack %q", missing)
	}
}

func TestLogsAreWhatTheFlagsSay(t *testing.T) {
	e := start(t, "--demo")
	get(t, e.url+"/metrics")
	e.stop()
	for line := range strings.Lines(e.stderr.String()) {
		for _, key := range []string{"time=", "level=", "caller=", "msg="} {
			if strings.Count(line, key) != 1 {
				t.Errorf("a line has %s %d times: %s", key, strings.Count(line, key), line)
			}
		}
	}
	_, _, logged := runOnce(t, "--demo", "--log.format=json", "--log.level=warn")
	for line := range strings.Lines(logged) {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry["level"] == "info" {
			t.Errorf("not JSON, or not severe enough: %s (%v)", line, err)
		}
	}
}

// TestDockerfileStartsWithFlagsThatExist holds the image against the flags.
func TestDockerfileStartsWithFlagsThatExist(t *testing.T) {
	text, err := os.ReadFile("Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	var args []string
	for _, match := range regexp.MustCompile(`(?m)^(ENTRYPOINT|CMD) (\[.*\])$`).FindAllStringSubmatch(string(text), -1) {
		var words []string
		if err := json.Unmarshal([]byte(match[2]), &words); err != nil {
			t.Fatal(err)
		}
		args = append(args, words...)
	}
	if len(args) < 2 || filepath.Base(args[0]) != "bunq_exporter" {
		t.Fatalf("the image runs %q", args)
	}
	o, done, code := parse(args[1:], os.Stdout, os.Stderr)
	if done || code != exitOK || o.configFile != "/etc/bunq_exporter/config.yml" {
		t.Errorf("the image's flags %q are not accepted, or name another configuration: %s", args[1:], o.configFile)
	}
}
