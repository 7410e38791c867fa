package bunqtest_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"

	"bunq_exporter/bunq/bunqtest"
)

var documentRouter = sync.OnceValues(func() (routers.Router, error) {
	document, err := openapi3.NewLoader().LoadFromFile("openapi.yml")
	if err != nil {
		return nil, err
	}
	return legacy.NewRouter(document) // validates the document
})

// checkDocument compares an exchange with openapi.yml. A request that is not valid must get an error.
func checkDocument(r *http.Request, body string, got *answer) error {
	r = r.Clone(r.Context())
	r.URL = &url.URL{Path: r.URL.Path, RawQuery: r.URL.RawQuery}
	r.Body = io.NopCloser(strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json") // optional, but OpenAPI cannot express that
	router, err := documentRouter()
	if err != nil {
		return err
	}
	route, parameters, err := router.FindRoute(r)
	if err != nil && got.status == http.StatusNotFound {
		return nil
	} else if err != nil {
		return err
	}
	input := &openapi3filter.RequestValidationInput{
		Request: r, PathParams: parameters, Route: route,
		Options: &openapi3filter.Options{IncludeResponseStatus: true, SkipSettingDefaults: true},
	}
	if err := openapi3filter.ValidateRequest(r.Context(), input); err != nil && got.status < 400 {
		return fmt.Errorf("request: %w", err)
	}
	if err := openapi3filter.ValidateResponse(r.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: got.status, Header: got.header,
		Body: io.NopCloser(bytes.NewReader(got.body)), Options: input.Options,
	}); err != nil {
		return fmt.Errorf("response: %w", err)
	}
	for name := range got.header {
		_, documented := route.Operation.Responses.Status(got.status).Value.Headers[name]
		if !documented && (strings.HasPrefix(name, "X-Bunq-") || name == "Retry-After") {
			return fmt.Errorf("response header %s is not documented", name)
		}
	}
	return nil
}

// Without this test, a check that accepts everything would not be noticed.
func TestDocumentViolations(t *testing.T) {
	const times = `"created":"2015-06-13 23:19:16.215235","updated":"2015-06-13 23:19:16.215235"`
	const single = `{"Response":[{"DeviceServer":{` + times + `,"description":"","ip":"","status":"NEW","id":1}}]}`
	api := bunqtest.New(bunqtest.Options{})
	for _, test := range []struct{ path, body, want string }{
		{"device-server/1", single, "<nil>"},
		{"device-server/1", strings.Replace(single, `"id"`, `"more":null,"id"`, 1), "<nil>"},
		{"device-server/1", strings.Replace(single, "13 23", "13T23", 1), "regular expression"},
		{"device-server", single, `"Pagination" is missing`},
		{"device-server/x", single, "request"},
		{"user", single, "no matching operation"},
	} {
		r := httptest.NewRequest(http.MethodGet, "/v1/"+test.path, nil)
		r.Header.Set("User-Agent", "raw/1")
		r.Header.Set("X-Bunq-Client-Authentication", strings.Repeat("0", 64))
		recorder := httptest.NewRecorder()
		api.Answer(recorder, r, http.StatusOK, []byte(test.body))
		err := checkDocument(r, "", newAnswer(recorder))
		if !strings.Contains(fmt.Sprint(err), test.want) {
			t.Errorf("%s %s: error %v, want %s", test.path, test.body, err, test.want)
		}
	}
}
