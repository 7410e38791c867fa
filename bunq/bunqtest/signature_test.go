package bunqtest_test

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	_ "embed" // for the key
	"encoding/base64"
	"fmt"
	"net/http/httptest"
	"testing"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
)

//go:embed keys/server_public.pem
var serverPEM string

// A signature is over the body, or in the older scheme over the status and bunq's headers too.
func TestResponseSignatures(t *testing.T) {
	server, _ := bunq.ParsePublicKey(serverPEM)
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set(requestID, "1")
	for _, status := range []int{200, 400, 401, 429, 491, 500, 503} {
		for _, options := range []bunqtest.Options{
			{}, {OlderSignatures: true}, {ErrorsSigned: true}, {OlderSignatures: true, ErrorsSigned: true},
		} {
			options.Warning = "old"
			recorder := httptest.NewRecorder()
			bunqtest.New(options).Answer(recorder, r, status, []byte("body"))
			value, message := recorder.Header().Get("X-Bunq-Server-Signature"), "body"
			if isSigned := status == 200 || options.ErrorsSigned && status < 429; !isSigned {
				if value != "" {
					t.Errorf("%+v: status %d is signed", options, status)
				}
				continue
			}
			if options.OlderSignatures {
				message = fmt.Sprintf("%d\n%s: 1\nX-Bunq-Client-Response-Id: %s\nX-Bunq-Warning: old\n\nbody", status,
					requestID, recorder.Header().Get("X-Bunq-Client-Response-Id"))
			}
			signature, _ := base64.StdEncoding.DecodeString(value)
			sum := sha256.Sum256([]byte(message))
			if err := rsa.VerifyPKCS1v15(server, crypto.SHA256, sum[:], signature); err != nil {
				t.Errorf("%+v, status %d: %v", options, status, err)
			}
		}
	}
}
