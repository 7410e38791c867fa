package bunq_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
)

// An answer that somebody on the way has made or changed is not used, whatever it says.
func TestAnswerThatBunqDidNotSignIsNotUsed(t *testing.T) {
	t.Parallel()
	body := `{"Response":[` + item(7) + `]}`
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(body))
	forged, err := rsa.SignPKCS1v15(nil, stranger, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	recorded := httptest.NewRecorder()
	signed(http.StatusOK, `{"Response":[`+item(8)+`]}`)(recorded, httptest.NewRequest(http.MethodGet, "/", nil))

	for _, test := range []struct{ name, signature, body, want string }{
		{"unsigned", "", body, "the answer is not signed"},
		{"unsigned page of a proxy", "", "<html>Please log in</html>", "the answer is not signed"},
		{"not base64", "§§§", body, "the answer's signature is not base64"},
		{"not a signature", "AAAA", body, "the answer's signature is not bunq's"},
		{"a stranger's", base64.StdEncoding.EncodeToString(forged), body, "the answer's signature is not bunq's"},
		{"of another answer", recorded.Header().Get("X-Bunq-Server-Signature"), body, "the answer's signature is not bunq's"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			client := newClient(t, readerConfig(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("X-Bunq-Client-Response-Id", responseID)
				if test.signature != "" {
					w.Header().Set("X-Bunq-Server-Signature", test.signature)
				}
				_, _ = io.WriteString(w, test.body)
			})))
			_, err := client.DeviceServer(t.Context(), 7)
			want := "GET device-server/{id}: signature, HTTP status 200: " + test.want + " (response id " + responseID + ")"
			if expectReason(t, err, bunq.ReasonSignature); err.Error() != want {
				t.Errorf("the error is %v, want %s", err, want)
			}
		})
	}
}

func TestOlderSignatureHoldsForItsHeadersAndStatusOnly(t *testing.T) {
	t.Parallel()
	api := newAPI(t, bunqtest.Options{OlderSignatures: true, Warning: "Beware."}, devices(1)...)
	changed := func(http.Header) {}
	client := newClient(t, newConfig(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		recorded := httptest.NewRecorder()
		api.ServeHTTP(recorded, r)
		for name, values := range recorded.Header() {
			w.Header()[name] = values
		}
		changed(w.Header())
		_, _ = w.Write(recorded.Body.Bytes())
	})))
	if _, err := list(t.Context(), client); err != nil {
		t.Fatal(err)
	}
	changed = func(h http.Header) { h.Set("Content-Type", "text/plain"); h.Set("Via", "1.1 proxy") }
	if _, err := list(t.Context(), client); err != nil {
		t.Errorf("headers that are not bunq's are changed: %v", err)
	}
	changed = func(h http.Header) { h.Set("X-Bunq-Warning", "All is well.") }
	_, err := list(t.Context(), client)
	expectReason(t, err, bunq.ReasonSignature)
}

func TestHandshakeAnswersAreVerifiedToo(t *testing.T) {
	t.Parallel()
	for operation, changed := range map[bunq.Operation]changes{
		bunq.CreateDeviceServer: notRegistered, bunq.CreateSessionServer: notLoggedIn,
	} {
		api := answering(bank().api, operation, failing(http.StatusOK, nil, `{"Response":[{"Id":{"id":7}}]}`))
		err := loginError(t, newClient(t, restartConfig(t, api, contextWith(t, changed))))
		if e := apiError(t, err); e.Operation != operation || e.Reason != bunq.ReasonSignature {
			t.Errorf("an unsigned answer to %s: %v", operation, err)
		}
	}
}
