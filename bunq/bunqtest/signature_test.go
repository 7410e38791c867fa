package bunqtest_test

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http/httptest"
	"testing"

	"bunq_exporter/bunq/bunqtest"
)

func TestSignatureRequired(t *testing.T) {
	for required, want := range map[bool]int{false: 200, true: 466} {
		simulate(t, bunqtest.Options{RegistrationSigned: required}, func(t *testing.T, api *bunqtest.Server) {
			c := newRawClient(t, api).install()
			c.postDeviceServer(nil, with(signatureHeader, "")).has(want, errUnsigned)
			c.register().postSessionServer(with(signatureHeader, "")).has(466, errUnsigned)
		})
	}
}

func TestInvalidSignatures(t *testing.T) {
	simulate(t, bunqtest.Options{}, func(t *testing.T, api *bunqtest.Server) {
		c, other := loggedIn(t, api), newRawClient(t, api)
		other.key = bunqtest.ClientKey(2)
		const body = `{"secret":"` + apiKey + `"}`
		for _, value := range []string{
			c.sign(body + " "), other.sign(body), "not base64", "-" + c.sign(body)[1:], c.sign(body)[:100],
			c.sign("POST /v1/session-server\nCache-Control: no-cache\n\n" + body), // valid until 2020
		} {
			c.postSessionServer(with(signatureHeader, value)).has(400, errSignature)
		}
		c.get("device-server", with(signatureHeader, c.sign("other"))).has(400, errSignature)
	})
}

// scheme returns the signature scheme of the answer: body, older, unsigned or invalid.
func (a *answer) scheme(server *rsa.PublicKey) string {
	value := a.header.Get("X-Bunq-Server-Signature")
	if value == "" {
		return "unsigned"
	}
	signature, _ := base64.StdEncoding.DecodeString(value)
	head := fmt.Sprintf("%d\n", a.status)
	for _, name := range []string{requestID, "X-Bunq-Client-Response-Id", "X-Bunq-Warning"} {
		if value := a.header.Get(name); value != "" {
			head += name + ": " + value + "\n"
		}
	}
	for scheme, message := range map[string]string{"body": string(a.body), "older": head + "\n" + string(a.body)} {
		sum := sha256.Sum256([]byte(message))
		if rsa.VerifyPKCS1v15(server, crypto.SHA256, sum[:], signature) == nil {
			return scheme
		}
	}
	return "invalid"
}

func TestResponseSignatures(t *testing.T) {
	for options, want := range map[bunqtest.Options]struct{ success, error string }{
		{}:                                      {"body", "unsigned"},
		{OlderSignatures: true, Warning: "old"}: {"older", "unsigned"},
		{ErrorsSigned: true, Warning: "old"}:    {"body", "body"},
		{ErrorsSigned: true, OlderSignatures: true}: {"older", "older"},
	} {
		simulate(t, options, func(t *testing.T, api *bunqtest.Server) {
			c := loggedIn(t, api)
			for _, got := range []*answer{
				c.postInstallation(publicPEM(c.key)), c.postDeviceServer(nil), c.postSessionServer(),
				c.get("device-server"), c.get("device-server?count=0"), c.get("device-server/1"),
			} {
				want := map[bool]string{true: want.success, false: want.error}[got.status == 200]
				if scheme := got.scheme(c.server); scheme != want {
					t.Errorf("%+v, status %d: %s, want %s", options, got.status, scheme, want)
				}
			}
			for _, status := range []int{429, 491, 500, 503} {
				recorder := httptest.NewRecorder()
				api.Answer(recorder, httptest.NewRequest("GET", "/", nil), status, []byte("<html>"))
				if scheme := newAnswer(t, recorder).scheme(c.server); scheme != "unsigned" {
					t.Errorf("%+v, status %d: %s, want unsigned", options, status, scheme)
				}
			}
		})
	}
}
