package app

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

// read makes one API call.
func read(t *testing.T, client *bunq.Client, timeout time.Duration) (err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	for _, err = range client.DeviceServers(ctx, bunq.Credentials{Token: "token"}) {
		continue
	}
	return err
}

// A connection that is alive but no longer answers is not used again, even while other requests wait for it.
func TestConnectionReplacedAfterTimeout(t *testing.T) {
	base := http.DefaultTransport.(*http.Transport)
	before := base.TLSClientConfig
	defer func() { base.TLSClientConfig = before }()
	for _, http2 := range []bool{false, true} {
		type connection struct{}
		var connections, requests atomic.Int32
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Context().Value(connection{}) == int32(1) && requests.Add(1) > 1 {
				<-r.Context().Done()
				return
			}
			_, _ = w.Write([]byte(`{"Response":[]}`))
		}))
		server.EnableHTTP2 = http2
		server.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
			return context.WithValue(ctx, connection{}, connections.Add(1))
		}
		server.StartTLS()
		defer server.Close()
		certificates := x509.NewCertPool()
		certificates.AddCert(server.Certificate())
		base.TLSClientConfig = &tls.Config{RootCAs: certificates}
		client := bunq.NewClient(bunq.Config{
			BaseURL: server.URL, UserAgent: "test/1", Transport: newTransport(), Limiter: bunq.NewLimiter(10),
		})
		if err := read(t, client, time.Minute); err != nil {
			t.Fatal(err)
		}
		var waiting sync.WaitGroup
		if http2 { // other requests use the same connection
			waiting.Go(func() { _ = read(t, client, time.Second) })
		}
		if err := read(t, client, 200*time.Millisecond); !errors.Is(err, bunq.ReasonTimeout) {
			t.Errorf("HTTP/2 is %t: %v, want a timeout", http2, err)
		}
		if err := read(t, client, time.Minute); err != nil {
			t.Errorf("HTTP/2 is %t: %v", http2, err)
		}
		waiting.Wait()
	}
}
