// Package test runs the whole program: alone, with a real Prometheus, Alertmanager and browser, and killed.
package test

import (
	"context"
	"flag"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"bunq_exporter/internal/app"
)

// asProgram is the environment variable that makes the test binary the exporter. With the value "unlimited" it has no
// rate limit, which benchmarks need.
const asProgram = "RUN_AS_BUNQ_EXPORTER"

func TestMain(m *testing.M) {
	switch os.Getenv(asProgram) {
	case "program":
		app.Main()
	case "unlimited":
		serveUnlimited(os.Args[1])
	}
	useNetworks()
	_ = flag.Set("test.parallel", "8") // the tests mostly wait
	os.Exit(m.Run())
}

// timeoutHeader is the header of a scrape with its timeout in seconds.
const timeoutHeader = "X-Prometheus-Scrape-Timeout-Seconds"

// process is a running program: the exporter, Prometheus or Alertmanager.
type process struct {
	*exec.Cmd
	t           testing.TB
	url, output string
	ended       chan struct{}
}

// launch starts the exporter. It ends with the test.
func launch(t testing.TB, args ...string) *process {
	t.Helper()
	return launchProgram(t, "program", os.Args[0], args...)
}

func launchProgram(t testing.TB, mode, binary string, args ...string) *process {
	t.Helper()
	folder := t.TempDir()
	output, err := os.Create(filepath.Join(folder, "output"))
	check(t, err)
	defer func() { _ = output.Close() }()
	p := &process{exec.Command(binary, args...), t, "", output.Name(), make(chan struct{})}
	p.Env = append(os.Environ(), asProgram+"="+mode, "TMPDIR="+folder)
	p.Stdout, p.Stderr = output, output
	check(t, p.Start())
	go func() {
		_ = p.Wait() // the exit status says more
		close(p.ended)
	}()
	t.Cleanup(func() {
		if p.hasEnded() {
			return
		}
		if code := p.stop(); code != 0 || t.Failed() {
			t.Errorf("%q: exit status %d:\n%s", p.Args, code, p.text())
		}
	})
	return p
}

// start starts the exporter and waits until it listens.
func start(t testing.TB, args ...string) *process {
	t.Helper()
	p := launch(t, append(args, "--web.listen-address=127.0.0.1:0")...)
	p.findURL()
	return p
}

const listening = `address"?[=:]"?(127\.0\.0\.1:[1-9]\d+)`

func (p *process) findURL() {
	p.t.Helper()
	p.url = "http://" + p.find(listening)
}

// find waits until the pattern is written, and returns its first group.
func (p *process) find(pattern string) string {
	p.t.Helper()
	var match []string
	eventually(p.t, pattern+" is written", func() bool {
		match = regexp.MustCompile(pattern).FindStringSubmatch(p.text())
		if match == nil && p.hasEnded() {
			p.t.Fatalf("%q ended without %s:\n%s", p.Args, pattern, p.text())
		}
		return match != nil
	})
	return match[1]
}

func (p *process) address() string { return strings.TrimPrefix(p.url, "http://") }

func (p *process) signal(s os.Signal) { _ = p.Process.Signal(s) }

func (p *process) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// text returns the output so far.
func (p *process) text() string { return readFile(p.t, p.output) }

// stop terminates the process and returns its exit status.
func (p *process) stop() int {
	p.signal(syscall.SIGTERM)
	return p.wait()
}

func (p *process) kill() {
	p.signal(os.Kill)
	<-p.ended
}

// wait returns the exit status.
func (p *process) wait() int {
	select {
	case <-p.ended:
	case <-time.After(30 * time.Second):
		p.kill()
	}
	return p.ProcessState.ExitCode()
}

// scrape returns the metrics of all accounts.
func (p *process) scrape() string {
	p.t.Helper()
	return get(p.t, p.url+"/metrics")
}

// awaitUp waits until the account is read.
func (p *process) awaitUp(account string) {
	p.t.Helper()
	eventually(p.t, account+" is up", func() bool { return hasLine(p.scrape(), `bunq_up{account="`+account+`"} 1`) })
}

// call makes an HTTP request. The headers are names and values in turn.
func call(ctx context.Context, method, url string, headers ...string) (status int, body string, err error) {
	r, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return 0, "", err
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), err
}

// get returns the body of an answer with status 200.
func get(t testing.TB, url string, headers ...string) string {
	t.Helper()
	status, body, err := call(t.Context(), http.MethodGet, url, headers...)
	if err != nil || status != http.StatusOK {
		t.Fatalf("GET %s: status %d, %v: %s", url, status, err, body)
	}
	return body
}

// eventually waits until something holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not after two minutes: %s", what)
		}
	}
}

// expectLines wants a text to have these lines.
func expectLines(t testing.TB, text string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !hasLine(text, line) {
			t.Errorf("missing line: %s", line)
		}
	}
	if t.Failed() {
		t.Logf("in:\n%s", text)
	}
}

func hasLine(text, line string) bool { return strings.Contains("\n"+text, "\n"+line+"\n") }

// tool returns the path of a program. A test that needs a missing one is skipped, except in CI.
func tool(t testing.TB, name, howToGet string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		skip(t, name+" is missing: "+howToGet)
	}
	return path
}

func skip(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

// run runs another program in a folder and returns its output.
func run(t testing.TB, folder, program string, args ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), program, args...)
	command.Dir = folder
	text, err := command.CombinedOutput()
	if err != nil {
		t.Errorf("%s %q: %v\n%s", program, args, err, text)
	}
	return string(text)
}

// check ends a test that cannot go on.
func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func readFile(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	check(t, err)
	return string(text)
}

// writeFile writes a file into the folder and returns its path.
func writeFile(t testing.TB, folder, name, text string) string {
	t.Helper()
	path := filepath.Join(folder, name)
	check(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}
