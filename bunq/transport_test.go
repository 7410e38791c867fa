package bunq_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bunq_exporter/bunq"
)

// connectTLS returns a server, not started, that answers with an empty list after intercept, and a client of it once
// it is started. Each request knows the number of its connection.
func connectTLS(t *testing.T, http2 bool, intercept func(server *httptest.Server, r *http.Request, connection int32),
) func(timeout time.Duration) error {
	var connections atomic.Int32
	type connection struct{}
	var server *httptest.Server
	server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		intercept(server, r, r.Context().Value(connection{}).(int32))
		_, _ = w.Write([]byte(`{"Response":[]}`))
	}))
	server.EnableHTTP2 = http2
	server.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
		return context.WithValue(ctx, connection{}, connections.Add(1))
	}
	server.StartTLS()
	base := http.DefaultTransport.(*http.Transport)
	before := base.TLSClientConfig
	t.Cleanup(func() {
		server.Close()
		base.TLSClientConfig = before
	})
	certificates := x509.NewCertPool()
	certificates.AddCert(server.Certificate())
	base.TLSClientConfig = &tls.Config{RootCAs: certificates}
	transport := bunq.NewTransport()
	t.Cleanup(transport.(interface{ CloseIdleConnections() }).CloseIdleConnections)
	client, _ := connect(t, bunq.Config{BaseURL: server.URL, Transport: transport, Limiter: bunq.NewLimiter(10)})
	return func(timeout time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		defer cancel()
		return errorOf(list(ctx, client, bunq.Credentials{Token: token}))
	}
}

// A connection that is alive but no longer answers is not used again, even while other requests wait for it.
func TestConnectionReplacedAfterTimeout(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		var requests atomic.Int32
		read := connectTLS(t, http2, func(_ *httptest.Server, r *http.Request, connection int32) {
			if connection == 1 && requests.Add(1) > 1 {
				<-r.Context().Done()
			}
		})
		if err := read(time.Minute); err != nil {
			t.Fatal(err)
		}
		var waiting sync.WaitGroup
		if http2 { // other requests use the same connection
			waiting.Go(func() { _ = read(time.Second) })
		}
		if err := read(200 * time.Millisecond); !errors.Is(err, bunq.ReasonTimeout) {
			t.Errorf("HTTP/2 is %t: %v, want a timeout", http2, err)
		}
		if err := read(time.Minute); err != nil {
			t.Errorf("HTTP/2 is %t: %v", http2, err)
		}
		waiting.Wait()
	}
}

// A request whose connection breaks is not repeated behind the back of the rate limiter.
func TestRequestSentOnce(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		var requests atomic.Int32
		read := connectTLS(t, http2, func(server *httptest.Server, _ *http.Request, _ int32) {
			if requests.Add(1) == 2 {
				server.CloseClientConnections()
			}
		})
		first, second, third := read(time.Minute), read(time.Minute), read(time.Minute)
		if !errors.Is(second, bunq.ReasonNetwork) || first != nil || third != nil || requests.Load() != 3 {
			t.Errorf("HTTP/2 is %t: %d requests: %v, %v, %v", http2, requests.Load(), first, second, third)
		}
	}
}
