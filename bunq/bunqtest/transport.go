package bunqtest

import (
	"io"
	"net/http"
	"net/http/httptest"
)

// Transport returns a transport that passes requests to a handler, without a network. In a bubble of
// testing/synctest, network connections would stop the fake clock.
func Transport(h http.Handler) http.RoundTripper { return transport{h} }

type transport struct{ handler http.Handler }

// RoundTrip implements [http.RoundTripper]. A handler that takes long must return when the request's context ends.
func (t transport) RoundTrip(r *http.Request) (response *http.Response, err error) {
	defer func() {
		if cause := recover(); cause == http.ErrAbortHandler { //nolint:errorlint // it is a panic
			err = io.ErrUnexpectedEOF
		} else if cause != nil {
			panic(cause)
		}
	}()
	incoming := httptest.NewRequestWithContext(r.Context(), r.Method, r.URL.String(), r.Body) // from 192.0.2.1
	incoming.Header = r.Header.Clone()
	recorder := httptest.NewRecorder()
	t.handler.ServeHTTP(recorder, incoming)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return recorder.Result(), nil
}
