package bunq_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
)

// fixed returns a transport that gives each request the same answer.
func fixed(status int, header http.Header, body []byte) http.RoundTripper {
	return roundTripper(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(bytes.NewReader(body))}, nil
	})
}

// isSafe reports whether a text may be shown: it is bounded, printable, and holds no secret.
func isSafe(text string, secrets ...string) bool {
	isHidden := func(r rune) bool { return !unicode.IsPrint(r) }
	holds := func(secret string) bool { return strings.Contains(text, secret) }
	isText := utf8.ValidString(text) && !strings.ContainsFunc(text, isHidden)
	return len(text) < 3000 && isText && !slices.ContainsFunc(secrets, holds)
}

// fuzzClient returns a client that gets the same answer to each request. Its calls are checked when the test ends.
func fuzzClient(t *testing.T, status uint16, retryAfter, warning string, body []byte) *bunq.Client {
	header := http.Header{"Retry-After": {retryAfter}, "X-Bunq-Warning": {warning}}
	client, calls := connect(t, bunq.Config{Transport: fixed(100+int(status)%900, header, body)})
	t.Cleanup(func() {
		for _, call := range *calls {
			secrets := []string{token}
			if slices.Contains(operations[1:3], call.Operation) {
				secrets = append(secrets, apiKey)
			}
			e := call.Err
			if !isSafe(call.Warning, secrets...) || e == nil && call.StatusCode/100 != 2 {
				t.Errorf("the call is %+v", call)
			}
			if e != nil && (!isSafe(e.Error(), secrets...) || !isSafe(bunq.Summary(e), secrets...) ||
				!slices.Contains(bunq.Reasons, e.Reason) || e.RetryAfter < 0 || e.RetryAfter > 5*time.Minute) {
				t.Errorf("the error is %#v", e)
			}
		}
	})
	return client
}

// addAnswers adds answers of answers.txt to the corpus.
func addAnswers(f *testing.F, prefix, suffix string, sections ...string) {
	for _, section := range sections {
		for _, body := range answers(section) {
			f.Add(uint16(100), "30", "Old.", []byte(prefix+body+suffix))
		}
	}
}

func FuzzReads(f *testing.F) {
	const more = `],"Pagination":{"older_url":"/v1/device-server?older_id=7"}}`
	addAnswers(f, `{"Response":[`+item(7)+`,`, more, "invalid device")
	addAnswers(f, `{"Response":[`, `]}`, "invalid device")
	addAnswers(f, "", "", "answers that are not", "errors")
	unverified := bunq.Credentials{Token: token}
	f.Fuzz(func(t *testing.T, status uint16, retryAfter, warning string, body []byte) {
		// A limiter of its own for each call: a 429 would delay the next one.
		all, _ := list(t.Context(), fuzzClient(t, status, retryAfter, warning, body), unverified)
		one, err := fuzzClient(t, status, retryAfter, warning, body).DeviceServer(t.Context(), unverified, 7)
		if err == nil {
			all = append(all, one)
		}
		for _, d := range all {
			isText := d.Status != "" && isSafe(d.Description) && isSafe(d.IP) && isSafe(string(d.Status))
			if d.ID < 1 || !isText || d.Created.Location() != time.UTC || d.Updated.Location() != time.UTC {
				t.Errorf("read %+v", d)
			}
		}
		isUsed := read(t.Context(), fuzzClient(t, status, retryAfter, warning, body)) == nil
		if isUsed || err == nil && one.ID != 7 {
			t.Errorf("an answer without a signature is used: %v; read %+v", isUsed, one)
		}
	})
}

// isToken reports whether a text can be sent in a header.
func isToken(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool { return r < '!' || r > '~' })
}

func FuzzLogins(f *testing.F) {
	addAnswers(f, `{"Response":[`, `]}`, "POST installation", "POST device-server", "POST session-server")
	addAnswers(f, "", "", "errors")
	with, public := bunq.Credentials{Token: token}, &bunqtest.ClientKey(0).PublicKey
	f.Fuzz(func(t *testing.T, status uint16, retryAfter, warning string, body []byte) {
		client := fuzzClient(t, status, retryAfter, warning, body)
		if made, err := client.CreateInstallation(t.Context(), public); err == nil {
			_, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, made.ServerKey, []byte("test"), nil)
			if !isToken(made.Token) || made.Created.IsZero() || made.ServerKey.Size() < 256 || err != nil {
				t.Errorf("the installation is %+v: %v", made, err)
			}
		}
		id, err := client.CreateDeviceServer(t.Context(), with, bunq.Registration{Description: "mine", APIKey: apiKey})
		if err == nil && id < 1 {
			t.Errorf("the id is %d", id)
		}
		if made, err := client.CreateSession(t.Context(), with, apiKey); err == nil {
			isUser := strings.HasPrefix(made.User.Kind, "User") && json.Valid(made.User.JSON)
			if !isUser || !isToken(made.Token) || made.Timeout < time.Second || made.Timeout > 1<<31*time.Second {
				t.Errorf("the session is %+v", made)
			}
		}
	})
}
