package bunq_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"bunq_exporter/bunq"
)

const responseID = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"

// failing answers as bunq does outside 2xx, unsigned.
func failing(status int, header map[string]string, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Bunq-Client-Response-Id", responseID)
		for name, value := range header {
			w.Header().Set(name, value)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func describe(description string) string {
	return fmt.Sprintf(`{"Error":[{"error_description":%q,"error_description_translated":"x"}]}`, description)
}

func TestErrorSaysWhatBunqAnswered(t *testing.T) {
	t.Parallel()
	const (
		html     = "<html><body>Down for maintenance</body></html>"
		tooMany  = "Too many requests. You can do a maximum of 3 calls per 3 second to this endpoint."
		refused  = "User credentials are incorrect. Incorrect API key or IP address."
		unsigned = "For this operation a request signature is required. Please add a X-Bunq-Client-Signature header."
	)
	for _, test := range []struct {
		name   string
		status int
		header map[string]string
		body   string
		want   bunq.Error
	}{
		{"session closed", 401, nil, describe("Insufficient authorisation."), bunq.Error{Reason: bunq.ReasonUnauthorized, Description: "Insufficient authorisation."}},
		{"token unknown", 403, nil, describe("Insufficient authentication."), bunq.Error{Reason: bunq.ReasonUnauthorized, Description: "Insufficient authentication."}},
		{"not there", 404, nil, describe("DeviceServer not found."), bunq.Error{Reason: bunq.ReasonNotFound, Description: "DeviceServer not found."}},
		{"too fast", 429, nil, describe(tooMany), bunq.Error{Reason: bunq.ReasonRateLimited, Description: tooMany}},
		{"too fast, with a time to wait", 429, map[string]string{"Retry-After": "30"}, describe(tooMany), bunq.Error{Reason: bunq.ReasonRateLimited, Description: tooMany, RetryAfter: 30 * time.Second}},
		{"not signed", 466, nil, describe(unsigned), bunq.Error{Reason: bunq.ReasonSignature, Description: unsigned}},
		{"not signed, without a word", 466, nil, "", bunq.Error{Reason: bunq.ReasonSignature}},
		{"wrongly signed", 400, nil, describe("The request signature is invalid."), bunq.Error{Reason: bunq.ReasonSignature, Description: "The request signature is invalid."}},
		{"credentials", 400, nil, describe(refused), bunq.Error{Reason: bunq.ReasonCredentials, Description: refused}},
		{"credentials, in other letters", 400, nil, describe(strings.ToUpper(refused)), bunq.Error{Reason: bunq.ReasonCredentials, Description: strings.ToUpper(refused)}},
		{"credentials, after an object without words", 400, nil, `{"Error":[{},` + describe(refused)[len(`{"Error":[`):], bunq.Error{Reason: bunq.ReasonCredentials, Description: refused}},
		{"another 400", 400, nil, describe("The pagination is invalid."), bunq.Error{Reason: bunq.ReasonClient, Description: "The pagination is invalid."}},
		{"another 4xx", 418, nil, "", bunq.Error{Reason: bunq.ReasonClient}},
		{"maintenance page", 491, nil, html, bunq.Error{Reason: bunq.ReasonMaintenance}},
		{"maintenance", 503, map[string]string{"Retry-After": "120"}, html, bunq.Error{Reason: bunq.ReasonMaintenance, RetryAfter: 2 * time.Minute}},
		{"bunq's fault", 500, nil, describe("Internal server error."), bunq.Error{Reason: bunq.ReasonServer, Description: "Internal server error."}},
		{"bad gateway page", 502, nil, html, bunq.Error{Reason: bunq.ReasonServer}},
		{"no cause given", 400, nil, `{"Error":[]}`, bunq.Error{Reason: bunq.ReasonClient}},
		{"error of another kind", 400, nil, `{"Error":"no"}`, bunq.Error{Reason: bunq.ReasonClient}},
		{"description of another kind", 400, nil, `{"Error":[{"error_description":7}]}`, bunq.Error{Reason: bunq.ReasonClient}},
		{"not UTF-8", 400, nil, "{\"Error\":[{\"error_description\":\"caf\xe9\"}]}", bunq.Error{Reason: bunq.ReasonClient, Description: "caf\ufffd"}},
		{"very long", 400, nil, describe("x" + strings.Repeat("é", 10_000)), bunq.Error{Reason: bunq.ReasonClient, Description: "x" + strings.Repeat("é", 249)}},
		{"more keys", 400, nil, `{"Error":[{"error_code":7,"error_description":"No."}],"Meta":null}`, bunq.Error{Reason: bunq.ReasonClient, Description: "No."}},
		{"redirect", 308, map[string]string{"Location": "https://attacker.example/"}, "", bunq.Error{Reason: bunq.ReasonRedirect}},
		{"redirect to nowhere", 302, map[string]string{"Location": "http://[::1/secret"}, "", bunq.Error{Reason: bunq.ReasonRedirect}},
		{"not modified", 304, nil, "", bunq.Error{Reason: bunq.ReasonRedirect}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			config, told := readerConfig(t, failing(test.status, test.header, test.body)), &recorder{}
			config.Observe = told.observe
			_, err := newClient(t, config).DeviceServer(t.Context(), 7)
			want := test.want
			want.Operation, want.StatusCode, want.ResponseID = bunq.ReadDeviceServer, test.status, responseID
			got := apiError(t, err)
			if diff := cmp.Diff(&want, got, cmpopts.IgnoreFields(bunq.Error{}, "RequestID")); diff != "" {
				t.Errorf("error, -want +got:\n%s", diff)
			}
			if uuid.Validate(got.RequestID) != nil {
				t.Errorf("the request id is %q", got.RequestID)
			}
			if len(told.calls) != 1 || told.calls[0].Err != got {
				t.Errorf("the observer is told %+v, want the error that is returned", told.calls)
			}
		})
	}
}

func TestErrorTextIsOneLineForPeople(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err  bunq.Error
		want string
	}{
		{
			bunq.Error{Operation: bunq.ReadDeviceServer, Reason: bunq.ReasonNotFound, StatusCode: 404, Description: "Device \"server\"\nnot found.", ResponseID: responseID, RequestID: "x"},
			`GET device-server/{id}: not_found, HTTP status 404: bunq says "Device \"server\"\nnot found." (response id ` + responseID + `)`,
		},
		{bunq.Error{Operation: bunq.ListDeviceServers, Reason: bunq.ReasonMaintenance, StatusCode: 503}, "GET device-server: maintenance, HTTP status 503"},
		{bunq.Error{Operation: bunq.CreateInstallation, Reason: bunq.ReasonNetwork, Err: io.ErrUnexpectedEOF}, "POST installation: network: unexpected EOF"},
	} {
		if got := test.err.Error(); got != test.want {
			t.Errorf("the text is %s, want %s", got, test.want)
		}
		if err := errors.Unwrap(&test.err); err != test.err.Err { //nolint:errorlint // the very cause
			t.Errorf("the cause is %v, want %v", err, test.err.Err)
		}
	}
}

func TestRetryAfterIsReadInSecondsAndAsADate(t *testing.T) {
	t.Parallel()
	bank() // outside of the bubble
	synctest.Test(t, func(t *testing.T) {
		for value, want := range map[string]time.Duration{
			"30": 30 * time.Second, "0": 0, "-1": 0, "soon": 0, "1.5": 0, "99999999999999999999": 0, "": 0,
			time.Now().Add(90 * time.Second).UTC().Format(http.TimeFormat):  90 * time.Second,
			time.Now().Add(-90 * time.Second).UTC().Format(http.TimeFormat): 0,
			"Saturday, 01-Jan-00 00:01:00 GMT":                              time.Minute,
		} {
			client := newClient(t, readerConfig(t, failing(429, map[string]string{"Retry-After": value}, "")))
			_, err := list(t.Context(), client)
			if got := apiError(t, err).RetryAfter; got != want {
				t.Errorf("Retry-After: %s is %s, want %s", value, got, want)
			}
		}
	})
}

func TestResponseIDThatIsNoUUIDIsDropped(t *testing.T) {
	t.Parallel()
	for sent, want := range map[string]string{
		responseID: responseID, strings.ToUpper(responseID): strings.ToUpper(responseID), "": "", "7": "",
		"{" + responseID + "}": "", "urn:uuid:" + responseID: "", strings.ReplaceAll(responseID, "-", ""): "",
		`"onclick="alert(1)" xxxxxxxxxxxxxxxxx`: "", strings.Repeat("x", 36): "",
	} {
		config, told := readerConfig(t, failing(404, map[string]string{"X-Bunq-Client-Response-Id": sent}, "")), &recorder{}
		config.Observe = told.observe
		_, err := list(t.Context(), newClient(t, config))
		if got := apiError(t, err).ResponseID; got != want || told.calls[0].ResponseID != want {
			t.Errorf("for %q the error has %q and the call %q, want %q", sent, got, told.calls[0].ResponseID, want)
		}
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	for _, status := range []int{301, 302, 303, 307, 308} {
		api := count(failing(status, map[string]string{"Location": "/v1/device-server/8"}, ""))
		_, err := newClient(t, readerConfig(t, api)).DeviceServer(t.Context(), 7)
		expectReason(t, err, bunq.ReasonRedirect)
		requests, _ := api.seen("")
		if diff := cmp.Diff([]string{"GET /v1/device-server/7"}, requests); diff != "" {
			t.Errorf("%d: requests, -want +sent:\n%s", status, diff)
		}
	}
}

func TestReasonsAreTheClosedSetOfTheContract(t *testing.T) {
	t.Parallel()
	want := []bunq.Reason{
		"timeout", "network", "rate_limited", "unauthorized", "credentials", "not_found", "maintenance", "server", "client",
		"signature", "malformed", "redirect",
	}
	if diff := cmp.Diff(want, bunq.Reasons()); diff != "" {
		t.Error(diff)
	}
}
