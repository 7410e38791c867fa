package bunq_test

import (
	"compress/gzip"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"bunq_exporter/bunq"
)

// countConnections returns a client of the API over the network, and how many connections that has taken.
func countConnections(t *testing.T, api http.Handler) (*bunq.Client, *atomic.Int64) {
	t.Helper()
	var connections atomic.Int64
	server := httptest.NewUnstartedServer(api)
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	return overNetwork(t, server), &connections
}

func TestReadingsShareOneConnection(t *testing.T) {
	t.Parallel()
	client, connections := countConnections(t, signed(http.StatusOK, `{"Response":[`+item(7)+`]}`))
	for range 3 { // what bunq allows at once
		if _, err := client.DeviceServer(t.Context(), 7); err != nil {
			t.Fatal(err)
		}
	}
	if got := connections.Load(); got != 1 {
		t.Errorf("%d connections, want 1", got)
	}
}

func TestErrorsDoNotCostAConnection(t *testing.T) {
	t.Parallel()
	client, connections := countConnections(t, failing(http.StatusBadGateway, nil, strings.Repeat("<br>", 10_000)))
	for range 3 {
		_, err := client.DeviceServer(t.Context(), 7)
		expectReason(t, err, bunq.ReasonServer)
	}
	if got := connections.Load(); got != 1 {
		t.Errorf("%d connections, want 1", got)
	}
}

// The signature is of the body, not of its compressed form.
func TestCompressedAnswerIsVerified(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		plain := httptest.NewRecorder()
		signed(http.StatusOK, `{"Response":[`+item(7)+`]}`)(plain, r)
		for name, values := range plain.Header() {
			w.Header()[name] = values
		}
		w.Header().Set("Content-Encoding", "gzip")
		compressed := gzip.NewWriter(w)
		_, _ = compressed.Write(plain.Body.Bytes())
		_ = compressed.Close()
	}))
	defer server.Close()
	if _, err := overNetwork(t, server).DeviceServer(t.Context(), 7); err != nil {
		t.Error(err)
	}
}

func TestTLSIsOfVersion12AtLeast(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		version uint16
		refused bool
	}{
		{"TLS 1.1", tls.VersionTLS11, true}, {"TLS 1.2", tls.VersionTLS12, false}, {"TLS 1.3", tls.VersionTLS13, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var protocol string
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				protocol = r.Proto
				signed(http.StatusOK, `{"Response":[`+item(7)+`]}`)(w, r)
			}))
			server.Config.ErrorLog = log.New(io.Discard, "", 0)
			server.EnableHTTP2 = true
			server.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: test.version}
			server.StartTLS()
			defer server.Close()
			transport := bunq.NewTransport()
			t.Cleanup(transport.CloseIdleConnections)
			transport.TLSClientConfig.RootCAs = x509.NewCertPool()
			transport.TLSClientConfig.RootCAs.AddCert(server.Certificate())
			config := readerConfig(t, http.NotFoundHandler())
			config.BaseURL, config.Transport = server.URL+"/v1", transport
			_, err := newClient(t, config).DeviceServer(t.Context(), 7)
			if !test.refused {
				if err != nil || protocol != "HTTP/2.0" {
					t.Errorf("it reads with %q (%v), want HTTP/2.0", protocol, err)
				}
				return
			}
			if expectReason(t, err, bunq.ReasonNetwork); !strings.Contains(err.Error(), "protocol version") {
				t.Errorf("the error is %v, want it to name the protocol version", err)
			}
		})
	}
}

func TestServerWithoutACertificateThatHoldsIsRefused(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	_, err := overNetwork(t, server).DeviceServer(t.Context(), 7)
	if expectReason(t, err, bunq.ReasonNetwork); !strings.Contains(err.Error(), "certificate") {
		t.Errorf("the error is %v, want it to name the certificate", err)
	}
}

func TestBaseURLIsTheEnvironmentsUnlessGiven(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		environment   bunq.Environment
		baseURL, want string
	}{
		{bunq.Production, "", "https://api.bunq.com/v1/device-server/7"},
		{bunq.Sandbox, "", "https://public-api.sandbox.bunq.com/v1/device-server/7"},
		{bunq.Sandbox, "http://127.0.0.1:8080/v1", "http://127.0.0.1:8080/v1/device-server/7"},
		{bunq.Sandbox, "http://127.0.0.1:8080/v1/", "http://127.0.0.1:8080/v1/device-server/7"},
		{bunq.Sandbox, "https://bunq.example", "https://bunq.example/device-server/7"},
	} {
		var asked string
		config := restartConfig(t, nil, contextWith(t, installationOnly))
		editContext(t, config, changes{"environment_type": strings.ToUpper(string(test.environment))})
		config.APIKey, config.Environment, config.BaseURL = nil, test.environment, test.baseURL
		config.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			asked = r.URL.String()
			return nil, io.EOF
		})
		_, err := newClient(t, config).DeviceServer(t.Context(), 7)
		if expectReason(t, err, bunq.ReasonNetwork); asked != test.want {
			t.Errorf("%s with base URL %q asks %s, want %s", test.environment, test.baseURL, asked, test.want)
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestUnusableAddressIsRefused(t *testing.T) {
	t.Parallel()
	const notURL = "the base URL is not an address such as https://api.bunq.com/v1"
	for config, want := range map[*bunq.Config]string{
		{}:                            `the environment "" is neither production nor sandbox`,
		{Environment: "staging"}:      `the environment "staging" is neither production nor sandbox`,
		{BaseURL: "api.bunq.com/v1"}:  notURL,
		{BaseURL: "/v1"}:              notURL,
		{BaseURL: "http://[::1"}:      notURL,
		{BaseURL: "https://"}:         notURL,
		{BaseURL: "https:// /"}:       notURL,
		{BaseURL: "https://host?a=b"}: notURL,
	} {
		client, err := bunq.New(*config)
		if err == nil || err.Error() != want || client != nil {
			t.Errorf("%q: the error is %v, want %s", config.BaseURL, err, want)
		}
	}
}
