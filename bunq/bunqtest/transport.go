package bunqtest

import (
	"net/http"
	"net/http/httptest"
)

// Transport returns a transport that passes requests to a handler, without a network. In a bubble of
// testing/synctest, network connections would stop the fake clock.
func Transport(h http.Handler) http.RoundTripper { return transport{h} }

type transport struct{ handler http.Handler }

// RoundTrip implements [http.RoundTripper]. It returns when the request's context ends, even if the handler does not.
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	incoming := httptest.NewRequestWithContext(r.Context(), r.Method, r.URL.String(), r.Body) // from 192.0.2.1
	incoming.Header = r.Header.Clone()
	responses := make(chan *http.Response, 1)
	go func() {
		recorder := httptest.NewRecorder()
		t.handler.ServeHTTP(recorder, incoming)
		responses <- recorder.Result()
	}()
	select {
	case response := <-responses:
		return response, nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}
