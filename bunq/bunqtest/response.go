package bunqtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

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
