package bunqtest

import (
	"net/http"
	"net/http/httptest"
)

// Transport answers requests with a handler in the same process. In a bubble of testing/synctest, where a network would
// stop the virtual clock, it stands in for one.
func Transport(h http.Handler) http.RoundTripper { return transport{h} }

type transport struct{ handler http.Handler }

// RoundTrip implements [http.RoundTripper]. It ends with the request's context, whatever the handler does.
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	incoming := r.Clone(r.Context())
	incoming.RemoteAddr = "192.0.2.1:1234"
	if incoming.Body == nil {
		incoming.Body = http.NoBody
	}
	answered := make(chan *http.Response, 1)
	go func() {
		recorder := httptest.NewRecorder()
		t.handler.ServeHTTP(recorder, incoming)
		answered <- recorder.Result()
	}()
	select {
	case response := <-answered:
		return response, nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}
