package bunq_test

import (
	"bufio"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"bunq_exporter/bunq"
)

// proxiedContext names the environment variable that makes this test binary the program behind the proxy, and holds
// the context file that it reads with.
const proxiedContext = "BUNQ_TEST_PROXIED_CONTEXT"

// TestProgramBehindTheProxy reads once. Its token is none of bunq's: should the proxy be passed by, nothing is lost.
func TestProgramBehindTheProxy(t *testing.T) {
	if os.Getenv(proxiedContext) == "" {
		t.Skip("it is TestProxyOfTheEnvironmentIsUsed that runs this")
	}
	client, err := bunq.New(bunq.Config{Environment: bunq.Production, ContextFile: os.Getenv(proxiedContext), UserAgent: "bunq_exporter/test"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.DeviceServer(t.Context(), 7)
	if expectReason(t, err, bunq.ReasonNetwork); !strings.HasSuffix(err.Error(), ": network: Forbidden") {
		t.Errorf("the error is %v, want what the proxy says", err)
	}
}

// A new process is needed: net/http reads the environment's proxy once.
func TestProxyOfTheEnvironmentIsUsed(t *testing.T) {
	t.Parallel()
	proxy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = proxy.Close() }()
	asked := make(chan string, 1)
	go func() {
		defer close(asked)
		connection, err := proxy.Accept()
		if err != nil {
			return
		}
		defer func() { _ = connection.Close() }()
		request, err := http.ReadRequest(bufio.NewReader(connection))
		if err != nil {
			return
		}
		asked <- request.Method + " " + request.RequestURI
		_, _ = connection.Write([]byte("HTTP/1.1 403 Forbidden\r\n\r\n"))
	}()

	config := restartConfig(t, nil, contextWith(t, installationOnly))
	editContext(t, config, changes{"environment_type": "PRODUCTION"})
	program := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestProgramBehindTheProxy$")
	program.Env = append(os.Environ(), proxiedContext+"="+config.ContextFile, "HTTPS_PROXY=http://"+proxy.Addr().String(), "NO_PROXY=", "no_proxy=")
	if output, err := program.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	_ = proxy.Close() // in case nobody came
	if got, want := <-asked, "CONNECT api.bunq.com:443"; got != want {
		t.Errorf("the proxy is asked to %q, want %q", got, want)
	}
}
