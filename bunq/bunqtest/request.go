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
	id           string // in the path of a single device server
	address      string // of the client
	text         []byte
	body         body          // of a POST
	installation *installation // of the token; nil for POST /installation
}

// body has the fields of all requests.
type body struct {
	ClientPublicKey string   `json:"client_public_key"`
	Description     string   `json:"description"`
	Secret          string   `json:"secret"`
	PermittedIPs    []string `json:"permitted_ips"`
}

var handlers = map[bunq.Operation]func(*Server, *request) (object, *apiError){
	bunq.CreateInstallation:  (*Server).createInstallation,
	bunq.CreateDeviceServer:  (*Server).createDeviceServer,
	bunq.CreateSessionServer: (*Server).createSessionServer,
	bunq.ListDeviceServers:   (*Server).listDeviceServers,
	bunq.ReadDeviceServer:    (*Server).readDeviceServer,
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	response, failed := s.perform(w, r)
	s.respond(w, r, response, failed)
}

// perform reads a request and performs its operation. The body is read and the response is written without the lock,
// so that a slow client does not delay the others.
func (s *Server) perform(w http.ResponseWriter, r *http.Request) (object, *apiError) {
	endpoint, id, single := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v1/"), "/")
	if single {
		endpoint += "/{id}"
	}
	operation := bunq.Operation{Method: r.Method, Endpoint: endpoint}
	address, _, _ := net.SplitHostPort(r.RemoteAddr)
	text, _ := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20)) // the checks refuse an incomplete body
	return s.handle(&request{Request: r, operation: operation, id: id, address: address, text: text})
}

// handle makes the checks in bunq's order, then performs the operation.
func (s *Server) handle(r *request) (object, *apiError) {
	handler, found := handlers[r.operation]
	if !found {
		return nil, &apiError{status: http.StatusNotFound, description: "Route not found."}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests[r.operation]++
	for _, check := range []func(*request) *apiError{
		s.checkLimit, s.checkToken, s.checkHeaders, s.checkSignature, s.decodeBody,
	} {
		if failed := check(r); failed != nil {
			return nil, failed
		}
	}
	return handler(s, r)
}

func (s *Server) decodeBody(r *request) *apiError {
	decoder := json.NewDecoder(bytes.NewReader(r.text))
	if s.options.Strict {
		decoder.DisallowUnknownFields()
	}
	if err := decoder.Decode(&r.body); err != nil && r.Method == http.MethodPost {
		return badRequest("The request body is invalid: " + err.Error())
	}
	return nil
}
