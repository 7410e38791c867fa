package bunqtest_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
)

// contract holds what goes over the wire against openapi.yml.
type contract struct {
	doc        *openapi3.T
	router     routers.Router
	documented map[string]bool // a line for each parameter, status and header of each operation

	mu       sync.Mutex
	seen     map[string]bool // the lines of what occurred
	problems []string
}

func readContract(t *testing.T) *contract {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromFile("openapi.yml")
	if err != nil {
		t.Fatal(err)
	}
	router, err := legacy.NewRouter(doc) // validates the document
	if err != nil {
		t.Fatal(err)
	}
	return &contract{doc: doc, router: router, documented: documentedLines(doc), seen: map[string]bool{}}
}

func documentedLines(doc *openapi3.T) map[string]bool {
	lines := map[string]bool{}
	for path, item := range doc.Paths.Map() {
		for method, operation := range item.Operations() {
			for _, parameter := range slices.Concat(item.Parameters, operation.Parameters) {
				lines[parameterLine(method, path, parameter.Value)] = true
			}
			for status, response := range operation.Responses.Map() {
				lines[fmt.Sprintf("%s %s: %s", method, path, status)] = true
				for name := range response.Value.Headers {
					lines[fmt.Sprintf("%s %s: %s with %s", method, path, status, name)] = true
				}
			}
		}
	}
	return lines
}

func parameterLine(method, path string, parameter *openapi3.Parameter) string {
	return fmt.Sprintf("%s %s: %s parameter %s", method, path, parameter.In, parameter.Name)
}

// around is a middleware that checks requests and answers. Requests that are wrong on purpose must be refused; where
// there are none on purpose, each is a problem.
func (c *contract) around(api http.Handler, wrongOnPurpose bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			c.problem("%s %s: %v", r.Method, r.URL.Path, err)
		}
		answered := httptest.NewRecorder()
		incoming := r.Clone(r.Context())
		incoming.Body = io.NopCloser(bytes.NewReader(body))
		api.ServeHTTP(answered, incoming)
		c.check(r, body, answered, wrongOnPurpose)

		maps.Copy(w.Header(), answered.Header())
		w.WriteHeader(answered.Code)
		_, _ = w.Write(answered.Body.Bytes())
	})
}

func (c *contract) problem(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.problems = append(c.problems, fmt.Sprintf(format, args...))
}

func (c *contract) saw(line string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen[line] = true
}

// check looks at one exchange.
func (c *contract) check(r *http.Request, body []byte, answered *httptest.ResponseRecorder, wrongOnPurpose bool) {
	request := r.Clone(context.WithoutCancel(r.Context()))
	request.URL = &url.URL{Path: r.URL.Path, RawQuery: r.URL.RawQuery}
	request.Body = io.NopCloser(bytes.NewReader(body))
	request.ContentLength = int64(len(body))

	route, pathParameters, err := c.router.FindRoute(request)
	if err != nil {
		c.problem("%s %s is not documented: %v", r.Method, r.URL.Path, err)
		return
	}
	input := &openapi3filter.RequestValidationInput{
		Request: request, PathParams: pathParameters, Route: route,
		Options: &openapi3filter.Options{IncludeResponseStatus: true, RejectWhenRequestBodyNotSpecified: true, SkipSettingDefaults: true},
	}
	name := route.Method + " " + route.Path
	if err := openapi3filter.ValidateRequest(request.Context(), input); err != nil && (!wrongOnPurpose || answered.Code < 400) {
		c.problem("%s: the request, answered %d: %v", name, answered.Code, err)
	}
	if err := openapi3filter.ValidateResponse(request.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input,
		Status:                 answered.Code,
		Header:                 answered.Header(),
		Body:                   io.NopCloser(bytes.NewReader(answered.Body.Bytes())),
		Options:                input.Options,
	}); err != nil {
		c.problem("%s: the answer %d: %v", name, answered.Code, err)
	}
	c.record(route, request, answered)
}

// record notes what of the document occurred, and reports headers of bunq's that it does not have.
func (c *contract) record(route *routers.Route, r *http.Request, answered *httptest.ResponseRecorder) {
	for _, parameter := range slices.Concat(route.PathItem.Parameters, route.Operation.Parameters) {
		present := map[string]bool{
			openapi3.ParameterInPath:   true,
			openapi3.ParameterInQuery:  r.URL.Query().Has(parameter.Value.Name),
			openapi3.ParameterInHeader: r.Header.Get(parameter.Value.Name) != "",
		}
		if present[parameter.Value.In] {
			c.saw(parameterLine(route.Method, route.Path, parameter.Value))
		}
	}
	line := fmt.Sprintf("%s %s: %d", route.Method, route.Path, answered.Code)
	c.saw(line)
	for name := range answered.Header() {
		if !strings.HasPrefix(name, "X-Bunq-") && name != "Retry-After" {
			continue
		}
		line := line + " with " + name
		if !c.documented[line] {
			c.problem("%s is not documented", line)
		}
		c.saw(line)
	}
}
