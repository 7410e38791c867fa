package test

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"bunq_exporter/bunq"
)

func TestRestartsKeepDeviceServerAndSession(t *testing.T) {
	t.Parallel()
	a, folder := newAPI(t), t.TempDir()
	file := writeConfig(t, folder, a.url, 4711)
	first := start(t, "--config.file="+file)
	a.awaitSession(t) // without a scrape
	first.stop()
	_ = os.Chmod(filepath.Join(folder, "company.conf"), 0o660) // as Kubernetes does with the files of a volume
	for range 5 {
		e := start(t, "--config.file="+file)
		expectLines(t, e.scrape(), `bunq_up{account="company"} 1`, `bunq_session_renewals_total{account="company"} 0`)
		e.stop()
	}
	logins := a.Requests(bunq.CreateSessionServer)
	if post, get := a.count(http.MethodPost), a.count(http.MethodGet); post != 3 || get != 5 || logins != 1 {
		t.Errorf("%d POSTs, %d GETs and %d logins, want 3, 5 and 1", post, get, logins)
	}
}

// At shutdown, scrapes in flight have a second to end. One whose call hangs then answers with what is known.
func TestShutdownDuringScrape(t *testing.T) {
	t.Parallel()
	for up, answers := range map[string]bool{"1": true, "0": false} {
		a := newAPI(t)
		reading, release := a.hold(func(r *http.Request) bool { return r.Method == http.MethodGet })
		e, _ := watch(t, a, 4711)
		scraped := make(chan string)
		go func() {
			_, text, _ := call(t.Context(), http.MethodGet, e.url+"/metrics", timeoutHeader, "60")
			scraped <- text
		}()
		<-reading
		silent, err := net.Dial("tcp", e.address()) // a connection that sends nothing
		check(t, err)
		defer func() { _ = silent.Close() }()
		e.signal(syscall.SIGTERM)
		e.find(`(Shutting down)`)
		if answers {
			release()
		}
		expectLines(t, <-scraped, `bunq_up{account="company"} `+up)
		if code := e.wait(); code != 0 {
			t.Errorf("exit status %d, want 0", code)
		}
		release()
	}
}

func TestDemo(t *testing.T) {
	t.Parallel()
	e := start(t, "--demo")
	statusPage := e.find(`status page +(\S+)`)
	eventually(t, "the status page has data without a scrape", func() bool {
		return strings.Contains(get(t, statusPage), "bookkeeping sync")
	})
	expectLines(t, get(t, e.find(`metrics +(\S+)`)),
		`bunq_up{account="demo"} 1`,
		`bunq_api_request_errors_total{account="demo",endpoint="device-server",method="GET",reason="timeout"} 0`,
	)

	if code := e.stop(); code != 0 {
		t.Errorf("exit status %d, want 0", code)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(e.output), "bunq_exporter-demo-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("the demo leaves %q behind: %v", left, err)
	}
}

// The log must not delay scrapes, pages, logins or the end of the program.
func TestLogBlocksOrIsClosed(t *testing.T) {
	t.Parallel()
	for _, closed := range []bool{false, true} {
		reader, stderr, err := os.Pipe()
		check(t, err)
		if closed {
			_ = reader.Close()
		}
		_ = stderr.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		for err == nil { // until the pipe is full
			_, err = stderr.Write([]byte("line\n"))
		}
		listener, err := net.Listen("tcp", "127.0.0.1:0") // the log cannot show the address
		check(t, err)
		address := listener.Addr().String()
		_ = listener.Close()
		a := newAPI(t)
		exporter := exec.CommandContext(t.Context(), os.Args[0],
			"--config.file="+writeConfig(t, t.TempDir(), a.url, 4711), "--web.listen-address="+address)
		exporter.Env, exporter.Stderr = append(os.Environ(), asProgram+"=program"), stderr
		check(t, exporter.Start())
		a.awaitSession(t)
		for _, path := range []string{"/metrics", "/status"} {
			eventually(t, path+" is served", func() bool {
				status, body, _ := call(t.Context(), http.MethodGet, "http://"+address+path)
				return status == http.StatusOK && strings.Contains(body, "4711")
			})
		}
		_ = exporter.Process.Signal(syscall.SIGTERM)
		if err := exporter.Wait(); err != nil {
			t.Errorf("closed is %t: the program ended with %v", closed, err)
		}
		_, _ = reader.Close(), stderr.Close()
	}
}
