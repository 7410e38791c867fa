package bunq

import (
	"net/http"
	"time"
)

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

// Operations returns every operation, in the order of a first start, so that a counter for each can exist before its
// first call.
func Operations() []Operation {
	return []Operation{CreateInstallation, CreateDeviceServer, CreateSessionServer, ListDeviceServers, ReadDeviceServer}
}

// Call is one finished API call, answered or not. One whose turn did not come has no RequestID: it was not sent.
type Call struct {
	Operation
	Waited     time.Duration // for its turn within bunq's rate limits
	StatusCode int           // of HTTP; 0 without an answer
	Duration   time.Duration // from the request to the answer, verified and read
	RequestID  string        // X-Bunq-Client-Request-Id: the UUID that was sent
	ResponseID string        // X-Bunq-Client-Response-Id: the UUID that bunq's support asks for; may be empty
	Warning    string        // X-Bunq-Warning: bunq's own text; usually empty
	Err        *Error        // nil if the answer could be used
}
