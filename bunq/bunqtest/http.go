package bunqtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/google/uuid"

	"bunq_exporter/bunq"
)

// request is an API request with what the checks add to it.
type request struct {
	*http.Request
	operation bunq.Operation
	address   string // of the client
	text      []byte
	body      struct { // of a POST
		ClientPublicKey string   `json:"client_public_key"`
		Description     string   `json:"description"`
		Secret          string   `json:"secret"`
		PermittedIPs    []string `json:"permitted_ips"`
	}
	installation   *installation // of the token; nil for POST /installation
	responseHeader http.Header
}

// ServeHTTP implements [http.Handler]. The body is read and the response is written without the lock, so that a slow
// client does not delay the others.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	response := s.perform(w, r)
	text, _ := json.Marshal(response.body)
	s.Answer(w, r, response.status, text)
}

// perform reads a request, makes the checks in bunq's order, and performs the operation.
func (s *Server) perform(w http.ResponseWriter, incoming *http.Request) *response {
	endpoint, _, single := strings.Cut(strings.TrimPrefix(incoming.URL.Path, "/v1/"), "/")
	if single {
		endpoint += "/{id}"
	}
	operation := bunq.Operation{Method: incoming.Method, Endpoint: endpoint}
	handler, found := handlers[operation]
	if !found {
		return failure(http.StatusNotFound, "Route not found.")
	}
	address, _, _ := net.SplitHostPort(incoming.RemoteAddr)
	text, _ := io.ReadAll(http.MaxBytesReader(w, incoming.Body, 1<<20)) // the checks refuse an incomplete body
	r := &request{Request: incoming, operation: operation, address: address, text: text, responseHeader: w.Header()}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests[operation]++
	for _, check := range []func(*request) *response{
		s.checkLimit, s.checkToken, s.checkHeaders, s.checkSignature, s.decodeBody,
	} {
		if refused := check(r); refused != nil {
			return refused
		}
	}
	return handler(s, r)
}

func (s *Server) decodeBody(r *request) *response {
	decoder := json.NewDecoder(bytes.NewReader(r.text))
	if s.options.Strict {
		decoder.DisallowUnknownFields()
	}
	if err := decoder.Decode(&r.body); err != nil && r.Method == http.MethodPost {
		return badRequest("The request body is invalid: " + err.Error())
	}
	return nil
}

// timeLayout is bunq's: UTC, always with microseconds.
const timeLayout = "2006-01-02 15:04:05.000000"

// object is a JSON object.
type object map[string]any

// MarshalJSON implements [json.Marshaler]. The keys are in random order, as those of bunq are.
func (o object) MarshalJSON() ([]byte, error) {
	var members []string
	for key, value := range o {
		text, _ := json.Marshal(value) // never fails with strings and numbers
		members = append(members, fmt.Sprintf("%q:%s", key, text))
	}
	return []byte("{" + strings.Join(members, ",") + "}"), nil
}

// response has the body of a success or an error.
type response struct {
	status int
	body   object
}

var (
	wrongCredentials = badRequest("User credentials are incorrect. Incorrect API key or IP address.")
	notPermitted     = failure(http.StatusUnauthorized, "Insufficient authorisation.")
)

func badRequest(description string) *response { return failure(http.StatusBadRequest, description) }

// success has objects in a fixed order, because bunq's SDKs access them by index.
func success(objects ...object) *response {
	return &response{http.StatusOK, object{"Response": objects}}
}

// failure is a response outside 2xx with bunq's description.
func failure(status int, description string) *response {
	text := object{"error_description": description, "error_description_translated": description}
	return &response{status, object{"Error": []object{text}}}
}

// Answer writes a response with bunq's headers, including the signature, and the given body. It lets tests give
// responses that the API does not give.
func (s *Server) Answer(w http.ResponseWriter, r *http.Request, status int, body []byte) {
	header := w.Header()
	header.Set("Content-Type", "application/json") // without a charset: some clients compare it
	header.Set("X-Bunq-Client-Response-Id", uuid.NewString())
	if id := r.Header.Get(requestIDHeader); id != "" {
		header.Set(requestIDHeader, id)
	}
	if s.options.Warning != "" {
		header.Set("X-Bunq-Warning", s.options.Warning)
	}
	neverSigned := status == http.StatusTooManyRequests || status == 491 || status >= 500
	if status < 300 || s.options.ErrorsSigned && !neverSigned {
		header.Set("X-Bunq-Server-Signature", s.sign(status, header, body))
	}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

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
