package bunq

import (
	"crypto"
	"crypto/rand"
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

// keyBits is the size of RSA keys that bunq takes.
const keyBits = 2048

const (
	headerServerSignature = "X-Bunq-Server-Signature"
	headerClientSignature = "X-Bunq-Client-Signature"
)

// sign returns the X-Bunq-Client-Signature of a body: RSA PKCS#1 v1.5 over its SHA-256, in base64.
func sign(key *rsa.PrivateKey, body []byte) (string, error) {
	sum := sha256.Sum256(body)
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	return base64.StdEncoding.EncodeToString(signature), err
}

// verify checks an answer's X-Bunq-Server-Signature against bunq's key: over the body alone, or in the older scheme
// over status, X-Bunq headers and body. SDKs accept both, and bunq does not say when it uses which.
func verify(key *rsa.PublicKey, status int, header http.Header, body []byte) error {
	value := header.Get(headerServerSignature)
	if value == "" {
		return errors.New("the answer is not signed")
	}
	signature, err := base64.StdEncoding.DecodeString(value)
	if err != nil {
		return errors.New("the answer's signature is not base64")
	}
	for _, message := range []func() []byte{
		func() []byte { return body },
		func() []byte { return olderMessage(status, header, body) },
	} {
		sum := sha256.Sum256(message())
		if rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature) == nil {
			return nil
		}
	}
	return errors.New("the answer's signature is not bunq's")
}

// olderMessage is what the older scheme signs.
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

// encodePrivateKey writes a key as bunq's Python SDK does: PKCS#8 in PEM.
func encodePrivateKey(key *rsa.PrivateKey) (string, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), err
}

// encodePublicKey writes a key as bunq wants it: SubjectPublicKeyInfo in PEM.
func encodePublicKey(key *rsa.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), err
}

// decodePrivateKey reads PKCS#8 or PKCS#1, in PEM, on however many lines, or as bare base64.
func decodePrivateKey(text string) (*rsa.PrivateKey, error) {
	der := keyBytes(text)
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if rsaKey, ok := key.(*rsa.PrivateKey); err == nil && ok {
		return rsaKey, nil
	}
	return nil, errors.New("not an RSA private key in PKCS#8 or PKCS#1")
}

// decodePublicKey reads SubjectPublicKeyInfo or PKCS#1, in PEM or as bare base64.
func decodePublicKey(text string) (*rsa.PublicKey, error) {
	der := keyBytes(text)
	if key, err := x509.ParsePKCS1PublicKey(der); err == nil {
		return key, nil
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if rsaKey, ok := key.(*rsa.PublicKey); err == nil && ok {
		return rsaKey, nil
	}
	return nil, errors.New("not an RSA public key in PEM")
}

func keyBytes(text string) []byte {
	if block, _ := pem.Decode([]byte(text)); block != nil {
		return block.Bytes
	}
	der, _ := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
	return der // empty where it is no base64 either: the parsers refuse it
}
