package bunqtest

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// timeLayout is bunq's: UTC, always with microseconds.
const timeLayout = "2006-01-02 15:04:05.000000"

// object is a JSON object.
type object map[string]any

// MarshalJSON implements [json.Marshaler]. The keys are in random order, as those of bunq are.
func (o object) MarshalJSON() ([]byte, error) {
	var members []string
	for key, value := range o {
		text, err := json.Marshal(value)
		if err != nil {
			return nil, err
		}
		members = append(members, fmt.Sprintf("%q:%s", key, text))
	}
	return []byte("{" + strings.Join(members, ",") + "}"), nil
}

// response returns the body of a success. The order of its objects is fixed, because bunq's SDKs access them by
// index.
func response(objects ...object) object { return object{"Response": objects} }

// apiError is a response outside 2xx with bunq's description.
type apiError struct {
	status      int
	description string
	retryAfter  time.Duration
}

var (
	wrongCredentials = badRequest("User credentials are incorrect. Incorrect API key or IP address.")
	unknownToken     = &apiError{status: http.StatusUnauthorized, description: "Insufficient authentication."}
	notPermitted     = &apiError{status: http.StatusUnauthorized, description: "Insufficient authorisation."}
)

func badRequest(description string) *apiError {
	return &apiError{status: http.StatusBadRequest, description: description}
}

// respond writes the body of a success, or an error.
func (s *Server) respond(w http.ResponseWriter, r *http.Request, body object, failed *apiError) {
	status := http.StatusOK
	if failed != nil {
		status = failed.status
		if failed == unknownToken && s.options.UnknownTokenForbidden {
			status = http.StatusForbidden
		}
		text := failed.description
		body = object{"Error": []object{{"error_description": text, "error_description_translated": text}}}
		if failed.retryAfter > 0 && s.options.RetryAfter {
			w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(failed.retryAfter.Seconds()))))
		}
	}
	text, _ := json.Marshal(body) // never fails with strings and numbers
	s.Answer(w, r, status, text)
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
