package bunqtest_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
)

func TestDocumentNamesWhatTheClientCalls(t *testing.T) {
	doc := readContract(t).doc
	var documented, called []string
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			documented = append(documented, method+" "+strings.TrimPrefix(path, "/"))
		}
	}
	for _, operation := range bunq.Operations() {
		called = append(called, operation.String())
	}
	slices.Sort(documented)
	slices.Sort(called)
	if diff := cmp.Diff(called, documented); diff != "" {
		t.Errorf("operations, -called +documented:\n%s", diff)
	}

	var statuses []bunq.Status
	device := doc.Components.Schemas["DeviceServerObject"].Value.Properties["DeviceServer"].Value
	text, err := json.Marshal(device.Properties["status"].Value.Extensions["x-extensible-enum"])
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &statuses); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(bunq.Statuses(), statuses); diff != "" {
		t.Errorf("statuses, -known +documented:\n%s", diff)
	}
}

// Without this, a check that passes everything would go unnoticed.
func TestWhatTheDocumentDoesNotHaveIsReported(t *testing.T) {
	const (
		at     = `"2015-06-13 23:19:16.215235"`
		device = `{"created":` + at + `,"updated":` + at + `,"description":"","ip":"","status":"NEW","id":1}`
		urls   = `"Pagination":{"future_url":null,"newer_url":null,"older_url":null}`
		page   = `{"Response":[{"DeviceServer":` + device + `}],` + urls + `}`
		one    = `{"Response":[{"DeviceServer":` + device + `}]}`
		failed = `{"Error":[{"error_description":"a","error_description_translated":"b"}]}`
		newer  = `"https://bunq.com/v1/device-server?newer_id=1&count=1"`
		list   = "device-server"
		single = "device-server/1"
	)
	no := func(http.Header) {}
	drop := func(name string) func(http.Header) { return func(h http.Header) { h.Del(name) } }
	set := func(name, value string) func(http.Header) { return func(h http.Header) { h.Set(name, value) } }
	api := newServer(t, bunqtest.Options{})
	for name, test := range map[string]struct {
		path   string
		status int
		body   string
		change func(http.Header) // of the answer
		want   string            // in the problem; "" is none
	}{
		"a page":                      {list, 200, page, no, ""},
		"a device server":             {single, 200, one, no, ""},
		"a key that is unknown":       {single, 200, strings.Replace(one, `"id"`, `"avatar":null,"id"`, 1), no, ""},
		"the flat object of the spec": {single, 200, device, no, `property "created" is unsupported`},
		"a list without Pagination":   {list, 200, one, no, `property "Pagination" is missing`},
		"a URL with a host":           {list, 200, strings.Replace(page, "null", newer, 1), no, "doesn't match the regular expression"},
		"another object":              {single, 200, strings.Replace(one, "DeviceServer", "Device", 1), no, `property "Device" is unsupported`},
		"no status":                   {single, 200, strings.Replace(one, `"status":`, `"state":`, 1), no, `property "status" is missing`},
		"an empty status":             {single, 200, strings.Replace(one, `"NEW"`, `""`, 1), no, "minimum string length is 1"},
		"a time of ISO 8601":          {single, 200, strings.Replace(one, "13 23", "13T23", 1), no, "doesn't match the regular expression"},
		"an id that is text":          {single, 200, strings.Replace(one, `"id":1`, `"id":"1"`, 1), no, "must be an integer"},
		"two device servers":          {single, 200, strings.Replace(one, `]`, `,{"DeviceServer":`+device+`}]`, 1), no, "maximum number of items is 1"},
		"no response id":              {list, 200, page, drop("X-Bunq-Client-Response-Id"), "X-Bunq-Client-Response-Id"},
		"a response id of its own":    {list, 200, page, set("X-Bunq-Client-Response-Id", "1"), "X-Bunq-Client-Response-Id"},
		"no signature":                {list, 200, page, drop("X-Bunq-Server-Signature"), "X-Bunq-Server-Signature"},
		"a header":                    {list, 200, page, set("X-Bunq-Other", "1"), "X-Bunq-Other is not documented"},
		"a 429 that is signed":        {list, 429, failed, set("X-Bunq-Server-Signature", "1"), "is not documented"},
		"another type":                {list, 200, page, set("Content-Type", "text/html"), "Content-Type"},
		"a status":                    {list, 418, page, no, "status is not supported"},
		"a status of another path":    {list, 404, page, no, "status is not supported"},
		"an error without words":      {list, 401, `{"Error":[{}]}`, no, `property "error_description" is missing`},
		"a path":                      {"user", 200, page, no, "GET /v1/user is not documented"},
		"an id":                       {"device-server/x", 200, one, no, "the request, answered 200"},
		"too many asked for":          {list + "?count=201", 200, page, no, "the request, answered 200"},
	} {
		t.Run(name, func(t *testing.T) {
			c := readContract(t)
			answering := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				answered := httptest.NewRecorder()
				api.Answer(answered, r, test.status, []byte(test.body))
				maps.Copy(w.Header(), answered.Header())
				test.change(w.Header())
				w.WriteHeader(answered.Code)
				_, _ = w.Write(answered.Body.Bytes())
			})
			asker := newRawClient(t, c.around(answering, true))
			asker.pause, asker.session = 0, strings.Repeat("0", 64)
			asker.get(test.path)
			problems := strings.Join(c.problems, "\n")
			if (test.want == "") != (problems == "") || !strings.Contains(problems, test.want) {
				t.Errorf("problems %q, want %q", problems, test.want)
			}
		})
	}
}
