package bunqtest_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// answer is what the simulation answered a rawClient.
type answer struct {
	t      *testing.T
	status int
	header http.Header
	body   []byte
}

// bunq's words, as far as clients match them.
const (
	wordsCredentials    = "User credentials are incorrect. Incorrect API key or IP address."
	wordsAuthorisation  = "Insufficient authorisation."
	wordsAuthentication = "Insufficient authentication."
	wordsSignature      = "The request signature is invalid."
	wordsUnsigned       = "For this operation a request signature is required."
	wordsTooFast        = "Too many requests. You can do a maximum of "
)

// ok fails the test unless the answer is a success.
func (a *answer) ok() *answer {
	a.t.Helper()
	if a.status != http.StatusOK {
		a.t.Fatalf("HTTP status %d: %s", a.status, a.body)
	}
	return a
}

// refused fails the test unless the answer is an error with that status and words that start so.
func (a *answer) refused(status int, words string) {
	a.t.Helper()
	var body struct {
		Error []map[string]string
	}
	if err := json.Unmarshal(a.body, &body); err != nil || len(body.Error) != 1 {
		a.t.Fatalf("HTTP status %d with no error in it: %s", a.status, a.body)
	}
	got := body.Error[0]["error_description"]
	if a.status != status || !strings.HasPrefix(got, words) {
		a.t.Errorf("HTTP status %d %q, want %d %q", a.status, got, status, words)
	}
	if body.Error[0]["error_description_translated"] == "" {
		a.t.Error("the error is not translated")
	}
	a.identified()
}

// identified fails the test unless the answer has what every answer of bunq's has.
func (a *answer) identified() {
	a.t.Helper()
	if id := a.header.Get("X-Bunq-Client-Response-Id"); uuid.Validate(id) != nil {
		a.t.Errorf("the response id %q is no UUID", id)
	}
	if got := a.header.Values("Content-Type"); len(got) != 1 || got[0] != "application/json" {
		a.t.Errorf("Content-Type is %q, and clients want exactly application/json", got)
	}
}

// objects are the one-key objects of a Response array, in its order.
func (a *answer) objects() []map[string]map[string]any {
	a.t.Helper()
	var body struct {
		Response []map[string]map[string]any
	}
	if err := json.Unmarshal(a.body, &body); err != nil {
		a.t.Fatalf("%v: %s", err, a.body)
	}
	return body.Response
}

// ids are those of the listed device servers, in the list's order.
func (a *answer) ids() []int64 {
	a.t.Helper()
	ids := []int64{}
	for _, object := range a.ok().objects() {
		ids = append(ids, int64(object["DeviceServer"]["id"].(float64)))
	}
	return ids
}

// links are the URLs of a page; "" stands for null.
func (a *answer) links() map[string]string {
	a.t.Helper()
	var body struct{ Pagination map[string]*string }
	if err := json.Unmarshal(a.ok().body, &body); err != nil {
		a.t.Fatal(err)
	}
	links := map[string]string{}
	for name, link := range body.Pagination {
		links[name] = ""
		if link != nil {
			links[name] = *link
		}
	}
	return links
}
