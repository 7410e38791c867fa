package bunq_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bunq_exporter/bunq"
)

// overNetwork returns a client that reads from a real server.
func overNetwork(t *testing.T, server *httptest.Server) *bunq.Client {
	t.Helper()
	config := readerConfig(t, http.NotFoundHandler())
	transport := bunq.NewTransport()
	t.Cleanup(transport.CloseIdleConnections)
	config.BaseURL, config.Transport = server.URL+"/v1", transport
	return newClient(t, config)
}

func TestBrokenConnectionIsNetwork(t *testing.T) {
	t.Parallel()
	hangUp := func(w http.ResponseWriter) {
		connection, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_ = connection.Close()
		}
	}
	for _, test := range []struct {
		name   string
		answer http.HandlerFunc
		want   string
	}{
		{"closed at once", func(w http.ResponseWriter, _ *http.Request) { hangUp(w) }, "GET device-server/{id}: network: EOF"},
		{"cut off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, `{"Response":[`)
		}, "GET device-server/{id}: network, HTTP status 200: unexpected EOF"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(test.answer)
			defer server.Close()
			_, err := overNetwork(t, server).DeviceServer(t.Context(), 7)
			if expectReason(t, err, bunq.ReasonNetwork); err.Error() != test.want {
				t.Errorf("the error is %v, want %s", err, test.want)
			}
		})
	}
}

func TestRefusedConnectionIsNetwork(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	_, err := overNetwork(t, server).DeviceServer(t.Context(), 7)
	if expectReason(t, err, bunq.ReasonNetwork); !strings.Contains(err.Error(), "connection refused") || strings.Contains(err.Error(), "/v1") {
		t.Errorf("the error is %v, want it to say that the connection was refused, without the URL", err)
	}
}

// hanging answers no sooner than the request's end.
func hanging(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// slowBody is a transport whose answers begin and never end.
type slowBody struct{}

func (slowBody) RoundTrip(r *http.Request) (*http.Response, error) {
	body, writer := io.Pipe()
	context.AfterFunc(r.Context(), func() { _ = writer.CloseWithError(r.Context().Err()) })
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: body, Request: r}, nil
}

func TestReadingEndsWithItsDeadline(t *testing.T) {
	t.Parallel()
	bank() // outside of the bubbles
	for name, test := range map[string]struct {
		transport  http.RoundTripper
		wantStatus int
	}{
		"no answer":         {readerConfig(t, http.HandlerFunc(hanging)).Transport, 0},
		"answer never ends": {slowBody{}, http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				config := readerConfig(t, http.NotFoundHandler())
				config.Transport = test.transport
				client := newClient(t, config)
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				start := time.Now()
				_, err := client.DeviceServer(ctx, 7)
				if took := time.Since(start); took != 5*time.Second {
					t.Errorf("it took %s, want 5s", took)
				}
				e := apiError(t, err)
				if e.Reason != bunq.ReasonTimeout || e.StatusCode != test.wantStatus || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("the error is %v", err)
				}
			})
		})
	}
}

func TestCanceledReadingIsTimeout(t *testing.T) {
	t.Parallel()
	bank() // outside of the bubble
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		_, err := list(ctx, newClient(t, readerConfig(t, http.HandlerFunc(hanging))))
		const want = "GET device-server: timeout: context canceled"
		if expectReason(t, err, bunq.ReasonTimeout); err.Error() != want {
			t.Errorf("the error is %v, want %s", err, want)
		}
	})
}
