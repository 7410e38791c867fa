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
)

// fullPipe returns the writing end of a pipe that nobody reads and that is full.
func fullPipe(t *testing.T) *os.File {
	t.Helper()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reader.Close() })
	_ = writer.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	for err == nil {
		_, err = writer.Write([]byte("line\n"))
	}
	return writer
}

func closedPipe(t *testing.T) *os.File {
	t.Helper()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_ = reader.Close()
	return writer
}

// The log must not delay scrapes, pages, logins or the end of the program.
func TestLogBlocksOrIsClosed(t *testing.T) {
	t.Parallel()
	for name, stderr := range map[string]*os.File{"full": fullPipe(t), "closed": closedPipe(t)} {
		t.Run(name, func(t *testing.T) {
			a, folder := newAPI(t), t.TempDir()
			listener, err := net.Listen("tcp", "127.0.0.1:0") // the log cannot show the address
			if err != nil {
				t.Fatal(err)
			}
			address := listener.Addr().String()
			_ = listener.Close()
			exporter := exec.CommandContext(t.Context(), os.Args[0],
				"--config.file="+writeConfig(t, folder, a.url, 4711), "--web.listen-address="+address)
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
				t.Errorf("the program ended with %v", err)
			}
			if _, err := os.Stat(filepath.Join(folder, "company.conf")); err != nil {
				t.Error(err)
			}
		})
		_ = stderr.Close()
	}
}
