// Package bunq is a client of the bunq API, as far as it concerns device servers.
//
// Each method of [Client] makes one API call with the credentials it is given and returns a typed answer. The client
// signs requests, verifies answers and keeps within bunq's rate limits. It reads no files, starts no goroutines, does
// not retry and does not log in: that is the task of package session.
package bunq

import (
	"net/http"
	"strings"
	"time"
)

// Environment is one of bunq's environments. An API key works in its own environment only.
type Environment string

// The environments.
const (
	Production Environment = "production"
	Sandbox    Environment = "sandbox"
)

var baseURLs = map[Environment]string{
	Production: "https://api.bunq.com/v1",
	Sandbox:    "https://public-api.sandbox.bunq.com/v1",
}

// BaseURL returns the address of the environment's API, version included, or "" for an unknown environment.
func (e Environment) BaseURL() string { return baseURLs[e] }

// Accepts reports whether an API key looks like one of the environment: those of the sandbox start with sandbox_.
func (e Environment) Accepts(apiKey string) bool {
	return strings.HasPrefix(apiKey, "sandbox_") == (e == Sandbox)
}

// Operation is one kind of API call: an HTTP method and a path template below /v1/.
type Operation struct {
	Method   string
	Endpoint string
}

func (o Operation) String() string { return o.Method + " " + o.Endpoint }

// The operations that this package calls.
var (
	CreateInstallation  = Operation{http.MethodPost, "installation"}
	CreateDeviceServer  = Operation{http.MethodPost, "device-server"}
	CreateSessionServer = Operation{http.MethodPost, "session-server"}
	ListDeviceServers   = Operation{http.MethodGet, "device-server"}
	ReadDeviceServer    = Operation{http.MethodGet, "device-server/{id}"}
)

// Call is a finished API call. A call that was rate limited on this side has no RequestID: it was not sent.
type Call struct {
	Operation
	Waited     time.Duration // for the rate limit
	StatusCode int           // of HTTP; 0 without an answer
	Duration   time.Duration // from the request to the answer, read and verified
	RequestID  string        // X-Bunq-Client-Request-Id: the UUID that was sent
	ResponseID string        // X-Bunq-Client-Response-Id: the UUID that bunq's support asks for; may be empty
	Warning    string        // X-Bunq-Warning: free text; usually empty
	Err        *Error        // nil if the answer was used in full
}
