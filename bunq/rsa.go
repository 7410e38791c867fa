package bunq

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// KeyBits is the size of the RSA keys that bunq accepts and uses.
const KeyBits = 2048

// EncodePrivateKey returns a key as the Python SDK stores it: PKCS#8 in PEM.
func EncodePrivateKey(key *rsa.PrivateKey) string {
	der, _ := x509.MarshalPKCS8PrivateKey(key) // fails for other types alone
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// EncodePublicKey returns a key as bunq expects it: SubjectPublicKeyInfo in PEM.
func EncodePublicKey(key *rsa.PublicKey) string {
	der, _ := x509.MarshalPKIXPublicKey(key) // fails for other types alone
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// ParsePrivateKey reads PKCS#8 or PKCS#1, in PEM or as bare base64: the SDKs store all of these.
func ParsePrivateKey(text string) (*rsa.PrivateKey, error) {
	der := keyBytes(text)
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	parsed, _ := x509.ParsePKCS8PrivateKey(der)
	if key, ok := parsed.(*rsa.PrivateKey); ok {
		return key, nil
	}
	return nil, errors.New("not an RSA private key in PKCS#8 or PKCS#1")
}

// ParsePublicKey reads SubjectPublicKeyInfo, in PEM or as bare base64. A key that is too short to be bunq's, or that
// verifies nothing or takes long for it, is an error.
func ParsePublicKey(text string) (*rsa.PublicKey, error) {
	parsed, _ := x509.ParsePKIXPublicKey(keyBytes(text))
	if key, ok := parsed.(*rsa.PublicKey); ok && key.N.BitLen() >= KeyBits && key.N.BitLen() <= 4*KeyBits &&
		errors.Is(rsa.VerifyPKCS1v15(key, 0, nil, nil), rsa.ErrVerification) { // other errors are about the key
		return key, nil
	}
	return nil, errors.New("not an RSA public key of 2048 bits in PEM")
}

func keyBytes(text string) []byte {
	if block, _ := pem.Decode([]byte(text)); block != nil {
		return block.Bytes
	}
	der, _ := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
	return der // empty if it is not base64: the parsers reject it
}

const (
	headerRequestID       = "X-Bunq-Client-Request-Id"
	headerServerSignature = "X-Bunq-Server-Signature"
)

// sign returns the X-Bunq-Client-Signature of a body: RSA PKCS#1 v1.5 over its SHA-256, in base64.
// Of a key that cannot sign, it is empty, and bunq rejects it.
func sign(key *rsa.PrivateKey, body []byte) string {
	sum := sha256.Sum256(body)
	signature, _ := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
	return base64.StdEncoding.EncodeToString(signature)
}

// verify checks the X-Bunq-Server-Signature of an answer: over the body alone, or in the older scheme over status,
// X-Bunq headers and body. The SDKs accept both, and bunq does not document when it uses which.
func verify(key *rsa.PublicKey, status int, header http.Header, body []byte) error {
	signature, _ := base64.StdEncoding.DecodeString(header.Get(headerServerSignature))
	for _, message := range [][]byte{body, olderMessage(status, header, body)} {
		sum := sha256.Sum256(message)
		if rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature) == nil {
			return nil
		}
	}
	return &Error{Reason: ReasonSignature, Err: errors.New("answer is not signed with bunq's key")}
}

// olderMessage returns what the older scheme signs.
func olderMessage(status int, header http.Header, body []byte) []byte {
	var lines []string
	for name := range header {
		if strings.HasPrefix(name, "X-Bunq-") && name != headerServerSignature {
			lines = append(lines, name+": "+header.Get(name)+"\n")
		}
	}
	slices.Sort(lines)
	head := strconv.Itoa(status) + "\n" + strings.Join(lines, "") + "\n"
	return append([]byte(head), body...)
}
