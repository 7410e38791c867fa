package bunqtest_test

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"bunq_exporter/bunq/bunqtest"
)

const signatureHeader = "X-Bunq-Client-Signature"

func TestLoginMustBeSigned(t *testing.T) {
	simulate(t, bunqtest.Options{}, func(t *testing.T, api *bunqtest.Server) {
		c := newRawClient(t, api).install()
		c.postDeviceServer(nil, without(signatureHeader)).ok()
		c.postSessionServer(without(signatureHeader)).refused(466, wordsUnsigned)
		c.postSessionServer().ok()
	})
	simulate(t, bunqtest.Options{RegistrationSigned: true}, func(t *testing.T, api *bunqtest.Server) {
		c := newRawClient(t, api).install()
		c.postDeviceServer(nil, without(signatureHeader)).refused(466, wordsUnsigned)
		c.postDeviceServer(nil).ok()
	})
}

func TestWrongSignaturesAreRefusedWhereverTheyAreSent(t *testing.T) {
	simulate(t, bunqtest.Options{}, func(t *testing.T, api *bunqtest.Server) {
		c := loggedIn(t, api)
		stranger := newRawClient(t, api)
		stranger.key = otherKey()
		body := toJSON(map[string]any{"secret": apiKey})
		for name, value := range map[string]string{
			"of another body":        c.sign(body + " "),
			"of another key":         stranger.sign(body),
			"not base64":             "signature",
			"base64 of URLs":         "-" + c.sign(body)[1:],
			"cut off":                c.sign(body)[:100],
			"of headers and body":    c.sign("POST /v1/session-server\nCache-Control: no-cache\n\n" + body), // as bunq once wanted it
			"of the answer's scheme": c.sign("200\n\n" + body),
		} {
			if got := c.postSessionServer(with(signatureHeader, value)); got.status != http.StatusBadRequest {
				t.Errorf("%s: HTTP status %d, want 400", name, got.status)
			} else {
				got.refused(http.StatusBadRequest, wordsSignature)
			}
		}
		c.postDeviceServer(nil, with(signatureHeader, c.sign("other"))).refused(http.StatusBadRequest, wordsSignature)
		c.get("device-server", with(signatureHeader, c.sign("other"))).refused(http.StatusBadRequest, wordsSignature)
		c.get("device-server", with(signatureHeader, c.sign(""))).ok()
	})
}

// signedBy says which of bunq's schemes an answer is signed in.
func (a *answer) signedBy(server *rsa.PublicKey) string {
	a.t.Helper()
	value := a.header.Get("X-Bunq-Server-Signature")
	if value == "" {
		return "unsigned"
	}
	signature, err := base64.StdEncoding.DecodeString(value)
	if err != nil {
		a.t.Fatal(err)
	}
	var lines []string
	for name := range a.header {
		if strings.HasPrefix(name, "X-Bunq-") && name != "X-Bunq-Server-Signature" {
			lines = append(lines, name+": "+a.header.Get(name)+"\n")
		}
	}
	slices.Sort(lines)
	for scheme, message := range map[string]string{
		"body":  string(a.body),
		"older": fmt.Sprintf("%d\n%s\n%s", a.status, strings.Join(lines, ""), a.body),
	} {
		sum := sha256.Sum256([]byte(message))
		if rsa.VerifyPKCS1v15(server, crypto.SHA256, sum[:], signature) == nil {
			return scheme
		}
	}
	return "wrongly"
}

func TestAnswersAreSigned(t *testing.T) {
	for name, test := range map[string]struct {
		options       bunqtest.Options
		fine, refused string
	}{
		"over the body":              {bunqtest.Options{}, "body", "unsigned"},
		"over the head too":          {bunqtest.Options{OlderSignatures: true}, "older", "unsigned"},
		"over a warning too":         {bunqtest.Options{OlderSignatures: true, Warning: "old key"}, "older", "unsigned"},
		"errors too":                 {bunqtest.Options{ErrorsSigned: true}, "body", "body"},
		"errors too, head and body":  {bunqtest.Options{ErrorsSigned: true, OlderSignatures: true}, "older", "older"},
		"errors too, with a warning": {bunqtest.Options{ErrorsSigned: true, Warning: "old key"}, "body", "body"},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, test.options, func(t *testing.T, api *bunqtest.Server) {
				c := loggedIn(t, api)
				check := func(a *answer, status int, want string) {
					t.Helper()
					if got := a.signedBy(c.server); a.status != status || got != want {
						t.Errorf("HTTP status %d signed: %s, want %d signed: %s", a.status, got, status, want)
					}
				}
				check(c.postInstallation(publicPEM(otherKey())), 200, test.fine)
				check(c.postDeviceServer(nil), 200, test.fine)
				check(c.postSessionServer(), 200, test.fine)
				check(c.get("device-server"), 200, test.fine)
				check(c.get("device-server/"+fmt.Sprint(c.device)), 200, test.fine)
				check(c.get("device-server?count=0"), 400, test.refused)
				check(c.do(http.MethodGet, "/v1/device-server", "no token", ""), 401, test.refused)
				check(c.get("device-server/1"), 404, test.refused)
				check(c.postSessionServer(without(signatureHeader)), 466, test.refused)
				c.pause = 0
				check(c.postSessionServer(), 429, "unsigned")
			})
		})
	}
}

func TestAnswersOfATestsOwnAreDressedAsBunqs(t *testing.T) {
	simulate(t, bunqtest.Options{ErrorsSigned: true}, func(t *testing.T, api *bunqtest.Server) {
		server := newRawClient(t, api).install().server
		for status, want := range map[int]string{200: "body", 418: "body", 429: "unsigned", 491: "unsigned", 500: "unsigned", 503: "unsigned"} {
			recorder := httptest.NewRecorder()
			api.Answer(recorder, httptest.NewRequest(http.MethodGet, "/", nil), status, []byte("<html>"))
			got := &answer{t, recorder.Code, recorder.Header(), recorder.Body.Bytes()}
			got.identified()
			if got.status != status || string(got.body) != "<html>" || got.signedBy(server) != want {
				t.Errorf("HTTP status %d signed: %s, with %q; want %d signed: %s", got.status, got.signedBy(server), got.body, status, want)
			}
		}
	})
}
