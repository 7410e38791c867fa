package bunqtest

import (
	"fmt"
	"math"
	"net/http"
	"regexp"
	"slices"
	"time"

	"bunq_exporter/bunq"
)

const requestIDHeader = "X-Bunq-Client-Request-Id"

// documentedHeaders are those that bunq documents as mandatory. Request ids are usually UUIDs, but need not be.
var documentedHeaders = map[string]*regexp.Regexp{
	"User-Agent":         regexp.MustCompile(`.`),
	"Content-Type":       regexp.MustCompile(`^application/json$`), // of a POST
	"Cache-Control":      regexp.MustCompile(`^no-cache$`),
	requestIDHeader:      regexp.MustCompile(`.`),
	"X-Bunq-Language":    regexp.MustCompile(`^(en_US|nl_NL)$`),
	"X-Bunq-Region":      regexp.MustCompile(`^[a-z]{2}_[A-Z]{2}$`),
	"X-Bunq-Geolocation": regexp.MustCompile(`^-?[\d.]+ -?[\d.]+ -?[\d.]+ [\d.]+ (\d{3}|[A-Z]{2})$`),
}

// checkHeaders requires the documented headers, and a request id that the installation has not used before.
func (s *Server) checkHeaders(r *request) *response {
	for name, valid := range documentedHeaders {
		required := name == "User-Agent" || s.options.Strict && (name != "Content-Type" || r.Method == http.MethodPost)
		if required && !valid.MatchString(r.Header.Get(name)) {
			return badRequest("The request header " + name + " is missing or invalid.")
		}
	}
	if id := r.Header.Get(requestIDHeader); s.options.Strict && r.installation != nil {
		if r.installation.requestIDs[id] {
			return badRequest("The request id has been used before by this device server.")
		}
		r.installation.requestIDs[id] = true
	}
	return nil
}

// checkToken finds the installation of the token, and checks that the token permits the operation.
func (s *Server) checkToken(r *request) *response {
	if r.operation == bunq.CreateInstallation {
		return nil
	}
	token, reads := r.Header.Get("X-Bunq-Client-Authentication"), s.options.InstallationTokenReads
	if open := s.sessions[token]; open != nil && r.Method == http.MethodGet {
		r.installation = open.installation
		return s.checkSession(r, open)
	}
	r.installation = s.installations[token]
	switch {
	case r.installation == nil,
		r.Method == http.MethodGet && r.installation.device.ID == 0 && s.options.BareInstallationRefused:
		status := http.StatusUnauthorized
		if s.options.UnknownTokenForbidden {
			status = http.StatusForbidden
		}
		return failure(status, "Insufficient authentication.")
	case r.operation == bunq.ListDeviceServers && reads == ReadsNothing,
		r.operation == bunq.ReadDeviceServer && reads != ReadsListAndOne:
		return notPermitted
	}
	return nil
}

func (s *Server) checkSession(r *request, open *session) *response {
	switch own := r.installation.device; {
	case s.options.ReadsRefusedAsCredentials && !own.usable(r.address):
		return wrongCredentials
	case own.Status != bunq.StatusActive, !now().Before(open.expires):
		open.expires = now() // also if the device server becomes ACTIVE again
		return notPermitted
	case s.options.UseExtendsSession:
		open.expires = now().Add(open.timeout)
	}
	return nil
}

// checkLimit applies bunq's limits for each address and endpoint. All reads of device servers count as one endpoint.
func (s *Server) checkLimit(r *request) *response {
	if s.options.Unlimited {
		return nil
	}
	endpoint, most, span := r.operation.String(), 5, 3*time.Second
	switch {
	case r.Method == http.MethodGet:
		endpoint, most = "GET", 3
	case r.operation == bunq.CreateSessionServer:
		most, span = 1, 30*time.Second
	}
	now, key := time.Now(), r.address+endpoint
	accepted := slices.DeleteFunc(s.accepted[key], func(t time.Time) bool { return now.Sub(t) >= span })
	if len(accepted) < most {
		s.accepted[key] = append(accepted, now)
		return nil
	}
	// During a penalty, the limit is used up by requests that count until its end.
	if penalty := now.Add(s.options.Penalty - span); penalty.After(accepted[0]) {
		accepted = slices.Repeat([]time.Time{penalty}, most)
	}
	s.accepted[key] = accepted
	const format = "Too many requests. You can do a maximum of %d calls per %d second to this endpoint."
	if wait := span - now.Sub(accepted[0]); s.options.RetryAfter {
		r.responseHeader.Set("Retry-After", fmt.Sprint(math.Ceil(wait.Seconds())))
	}
	return failure(http.StatusTooManyRequests, fmt.Sprintf(format, most, int(span.Seconds())))
}
