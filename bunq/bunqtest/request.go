package bunqtest

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"

	"bunq_exporter/bunq"
)

// request is an API request with what the checks add to it.
type request struct {
	*http.Request
	operation    bunq.Operation
	address      string // of the client
	text         []byte
	body         body          // of a POST
	installation *installation // of the token; nil for POST /installation

	responseHeader http.Header
}

// body has the fields of all requests.
type body struct {
	ClientPublicKey string   `json:"client_public_key"`
	Description     string   `json:"description"`
	Secret          string   `json:"secret"`
	PermittedIPs    []string `json:"permitted_ips"`
}

var handlers = map[bunq.Operation]func(*Server, *request) *response{
	bunq.CreateInstallation:  (*Server).createInstallation,
	bunq.CreateDeviceServer:  (*Server).createDeviceServer,
	bunq.CreateSessionServer: (*Server).createSessionServer,
	bunq.ListDeviceServers:   (*Server).listDeviceServers,
	bunq.ReadDeviceServer:    (*Server).readDeviceServer,
}

// ServeHTTP implements [http.Handler]. The body is read and the response is written without the lock, so that a slow
// client does not delay the others.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	response := s.perform(w, r)
	text, _ := json.Marshal(response.body) // never fails with strings and numbers
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
