package test

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The log must not delay scrapes, pages, logins or the end of the program.
func TestLogBlocksOrIsClosed(t *testing.T) {
	t.Parallel()
	for _, closed := range []bool{false, true} {
		reader, stderr, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		if closed {
			_ = reader.Close()
		}
		_ = stderr.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		for err == nil { // until the pipe is full
			_, err = stderr.Write([]byte("line\n"))
		}
		listener, err := net.Listen("tcp", "127.0.0.1:0") // the log cannot show the address
		if err != nil {
			t.Fatal(err)
		}
		address := listener.Addr().String()
		_ = listener.Close()
		a := newAPI(t)
		exporter := exec.CommandContext(t.Context(), os.Args[0],
			"--config.file="+writeConfig(t, t.TempDir(), a.url, 4711), "--web.listen-address="+address)
		exporter.Env, exporter.Stderr = append(os.Environ(), asProgram+"=program"), stderr
		if err := exporter.Start(); err != nil {
			t.Fatal(err)
		}
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
