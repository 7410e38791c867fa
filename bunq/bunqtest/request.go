package bunqtest

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"path"
	"regexp"
	"time"

	"bunq_exporter/bunq"
)

// request is one API call on its way through the checks.
type request struct {
	*http.Request
	operation    bunq.Operation
	address      string // that it comes from
	body         []byte
	installation *installation // that the token belongs to; nil for POST /installation
}

// handler does what an operation is for, and returns the answer's body.
type handler func(*request) (any, *failure)

func (s *Server) routes() *http.ServeMux {
	mux := http.NewServeMux()
	for operation, h := range map[bunq.Operation]handler{
		bunq.CreateInstallation:  s.createInstallation,
		bunq.CreateDeviceServer:  s.createDeviceServer,
		bunq.CreateSessionServer: s.createSessionServer,
		bunq.ListDeviceServers:   s.listDeviceServers,
		bunq.ReadDeviceServer:    s.readDeviceServer,
	} {
		mux.HandleFunc(operation.Method+" /v1/"+operation.Endpoint, func(w http.ResponseWriter, r *http.Request) {
			s.serve(w, r, operation, h)
		})
	}
	mux.HandleFunc("/", s.notFound)
	return mux
}

func (s *Server) notFound(w http.ResponseWriter, r *http.Request) {
	s.respond(w, r, nil, &failure{status: http.StatusNotFound, description: "Route not found."})
}

// ServeHTTP implements [http.Handler]. A mux would take HEAD for GET, and redirect to the clean form of a path.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodHead || path.Clean(r.URL.Path) != r.URL.Path {
		s.notFound(w, r)
		return
	}
	s.mux.ServeHTTP(w, r)
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request, operation bunq.Operation, h handler) {
	// Read and answered without the lock: a client that is slow at it holds up no other.
	req := &request{Request: r, operation: operation}
	failed := readBody(req)
	var answer any
	if failed == nil {
		answer, failed = s.handle(req, h)
	}
	s.respond(w, r, answer, failed)
}

// handle applies the checks, in bunq's order, and then does what the request is for.
func (s *Server) handle(r *request, h handler) (any, *failure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests[r.operation]++
	for _, check := range []func(*request) *failure{
		checkAddress, s.checkLimit, checkHeaders, s.checkToken, checkRequestID, s.checkSignature,
	} {
		if failed := check(r); failed != nil {
			return nil, failed
		}
	}
	return h(r)
}

func checkAddress(r *request) *failure {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return &failure{status: http.StatusInternalServerError, description: "The address of the client is unknown."}
	}
	r.address = host
	return nil
}

var region = regexp.MustCompile(`^[a-z]{2}_[A-Z]{2}$`)

var geolocation = regexp.MustCompile(`^-?[\d.]+ -?[\d.]+ -?[\d.]+ [\d.]+ (\d{3}|[A-Z]{2})$`)

// checkHeaders wants what bunq documents as mandatory. Request ids are UUIDs from most clients, but need not be.
func checkHeaders(r *request) *failure {
	wanted := map[string]func(string) bool{
		"User-Agent":               func(v string) bool { return v != "" },
		"Cache-Control":            func(v string) bool { return v == "no-cache" },
		"X-Bunq-Client-Request-Id": func(v string) bool { return v != "" },
		"X-Bunq-Language":          func(v string) bool { return v == "en_US" || v == "nl_NL" },
		"X-Bunq-Region":            region.MatchString,
		"X-Bunq-Geolocation":       geolocation.MatchString,
	}
	if r.Method == http.MethodPost {
		wanted["Content-Type"] = func(v string) bool { return v == "application/json" }
	}
	for name, valid := range wanted {
		if !valid(r.Header.Get(name)) {
			return &failure{status: http.StatusBadRequest, description: "The request header " + name + " is missing or invalid."}
		}
	}
	return nil
}

func readBody(r *request) *failure {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return &failure{status: http.StatusBadRequest, description: "The request body cannot be read."}
	}
	r.body = body
	return nil
}

// checkToken finds whose token it is, and whether it is good for the operation.
func (s *Server) checkToken(r *request) *failure {
	if r.operation == bunq.CreateInstallation {
		return nil
	}
	token := r.Header.Get("X-Bunq-Client-Authentication")
	for _, i := range s.installations {
		if i.token == token {
			r.installation = i
			return s.checkInstallationToken(r)
		}
	}
	open, ok := s.sessions[token]
	if !ok || r.Method == http.MethodPost { // only installation tokens log in
		return s.unknownToken()
	}
	if !now().Before(open.expires) {
		return &failure{status: http.StatusUnauthorized, description: "Insufficient authorisation."}
	}
	if s.options.UseExtendsSession {
		open.expires = now().Add(open.user.SessionTimeout)
	}
	r.installation = open.installation
	return nil
}

func (s *Server) checkInstallationToken(r *request) *failure {
	if s.options.BareInstallationRefused && r.Method == http.MethodGet && r.installation.device == nil {
		return s.unknownToken()
	}
	reads := s.options.InstallationTokenReads
	if r.operation == bunq.ListDeviceServers && reads == ReadsNothing ||
		r.operation == bunq.ReadDeviceServer && reads != ReadsListAndOne {
		return &failure{status: http.StatusUnauthorized, description: "Insufficient authorisation."}
	}
	return nil
}

func (s *Server) unknownToken() *failure {
	status := http.StatusUnauthorized
	if s.options.UnknownTokenForbidden {
		status = http.StatusForbidden
	}
	return &failure{status: status, description: "Insufficient authentication."}
}

// rememberedIDs bounds the request ids that are remembered of an installation: a demo may run for months.
const rememberedIDs = 100_000

func checkRequestID(r *request) *failure {
	if r.installation == nil {
		return nil
	}
	id := r.Header.Get("X-Bunq-Client-Request-Id")
	if _, used := r.installation.used[id]; used {
		return &failure{status: http.StatusBadRequest, description: "The request id has been used before by this device server."}
	}
	if len(r.installation.used) >= rememberedIDs {
		clear(r.installation.used)
	}
	r.installation.used[id] = struct{}{}
	return nil
}

// checkSignature verifies a signature wherever one is sent, and wants one where bunq does.
func (s *Server) checkSignature(r *request) *failure {
	value := r.Header.Get("X-Bunq-Client-Signature")
	wanted := r.operation == bunq.CreateSessionServer || r.operation == bunq.CreateDeviceServer && s.options.RegistrationSigned
	switch {
	case r.installation == nil, value == "" && !wanted:
		return nil
	case value == "":
		return &failure{status: 466, description: "For this operation a request signature is required. Please add a X-Bunq-Client-Signature header."}
	}
	signature, err := base64.StdEncoding.DecodeString(value)
	sum := sha256.Sum256(r.body)
	if err != nil || rsa.VerifyPKCS1v15(r.installation.key, crypto.SHA256, sum[:], signature) != nil {
		return &failure{status: http.StatusBadRequest, description: "The request signature is invalid."}
	}
	return nil
}

// window is what is remembered for one rate limit.
type window struct {
	allowed []time.Time // when requests were let through
	blocked time.Time   // until when nothing is, after a 429
}

// checkLimit applies bunq's documented limits: within any consecutive seconds, for each address and endpoint. All GETs
// of device servers count as one endpoint.
func (s *Server) checkLimit(r *request) *failure {
	if s.options.Unlimited {
		return nil
	}
	most, span := 5, 3*time.Second
	switch {
	case r.Method == http.MethodGet:
		most = 3
	case r.operation == bunq.CreateSessionServer:
		most, span = 1, 30*time.Second
	}
	key := r.address + " " + r.Method
	if r.Method != http.MethodGet {
		key += " " + r.operation.Endpoint
	}
	w, ok := s.windows[key]
	if !ok {
		w = &window{}
		s.windows[key] = w
	}
	if wait := w.wait(time.Now(), most, span); wait > 0 {
		if s.options.Penalty > 0 {
			w.blocked = time.Now().Add(s.options.Penalty)
		}
		return &failure{
			status:      http.StatusTooManyRequests,
			description: fmt.Sprintf("Too many requests. You can do a maximum of %d calls per %d second to this endpoint.", most, int(span.Seconds())),
			retryAfter:  max(wait, s.options.Penalty),
		}
	}
	return nil
}

// wait lets a request through, or returns how long until one would be.
func (w *window) wait(now time.Time, most int, span time.Duration) time.Duration {
	if now.Before(w.blocked) {
		return w.blocked.Sub(now)
	}
	for len(w.allowed) > 0 && now.Sub(w.allowed[0]) >= span {
		w.allowed = w.allowed[1:]
	}
	if len(w.allowed) < most {
		w.allowed = append(w.allowed, now)
		return 0
	}
	return span - now.Sub(w.allowed[0])
}
