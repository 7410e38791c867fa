package bunqtest

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	_ "embed" // for the keys
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/http"
	"sync"

	"bunq_exporter/bunq"
)

// The keys are fixed because generating one takes a tenth of a second, which adds up in tests.
//
//go:embed keys/private.pem
var privatePEM []byte

// privateKeys has the server's key, then those of the clients.
var privateKeys = sync.OnceValue(func() (keys []*rsa.PrivateKey) {
	for block, rest := pem.Decode(privatePEM); block != nil; block, rest = pem.Decode(rest) {
		key, _ := x509.ParsePKCS8PrivateKey(block.Bytes) // the embedded keys are valid
		keys = append(keys, key.(*rsa.PrivateKey))
	}
	return keys
})

// ClientKey returns one of three fixed RSA keys for the clients of tests. It panics unless i is 0, 1 or 2.
func ClientKey(i int) *rsa.PrivateKey { return privateKeys()[1:][i] }

// checkSignature requires a signature where bunq does, and verifies every signature that is sent.
func (s *Server) checkSignature(r *request) *response {
	value := r.Header.Get("X-Bunq-Client-Signature")
	required := r.operation == bunq.CreateSessionServer ||
		r.operation == bunq.CreateDeviceServer && s.options.RegistrationSigned
	switch {
	case r.installation == nil, value == "" && !required:
		return nil
	case value == "":
		return failure(466, "For this operation a request signature is required.")
	}
	signature, err := base64.StdEncoding.DecodeString(value)
	sum := sha256.Sum256(r.text)
	if err != nil || rsa.VerifyPKCS1v15(r.installation.key, crypto.SHA256, sum[:], signature) != nil {
		return badRequest("The request signature is invalid.")
	}
	return nil
}

// sign returns the signature of a response.
func (s *Server) sign(status int, header http.Header, body []byte) string {
	message := string(body)
	if s.options.OlderSignatures {
		head := fmt.Sprintf("%d\n", status)
		for _, name := range []string{requestIDHeader, "X-Bunq-Client-Response-Id", "X-Bunq-Warning"} {
			if value := header.Get(name); value != "" {
				head += name + ": " + value + "\n"
			}
		}
		message = head + "\n" + message
	}
	sum := sha256.Sum256([]byte(message))
	signature, _ := rsa.SignPKCS1v15(nil, privateKeys()[0], crypto.SHA256, sum[:]) // never fails with 2048 bits
	return base64.StdEncoding.EncodeToString(signature)
}
