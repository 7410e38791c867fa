package bunq_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bunq_exporter/bunq"
)

// A damaged file holds the only key to a device server that bunq keeps for ever: it is left for a person to look at.
func TestDamagedContextFileIsLeftAloneAndSaysWhatToDo(t *testing.T) {
	t.Parallel()
	const advice = "; put a backup in its place, or move it away to register a new device server (bunq keeps the old one on the account for ever)"
	const notJSON = "is not the JSON object that bunq's SDKs write"
	const privateKey, serverKey = "installation_context.private_key_client", "installation_context.public_key_server"
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(curve)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&curve.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, text, want string }{
		{"empty", "", notJSON},
		{"cut off", contextWith(t, nil)[:200], notJSON},
		{"an array", "[]", notJSON},
		{"null", "null", notJSON},
		{"no JSON", "environment: sandbox\n", notJSON},
		{"UTF-16", "\xff\xfe{\x00}\x00", notJSON},
		{"api_key a number", contextWith(t, changes{"api_key": 7}), "holds something else under api_key than bunq's SDKs or this program write there"},
		{"installation_context a string", contextWith(t, changes{"installation_context": "none"}), "holds something else under installation_context than bunq's SDKs or this program write there"},
		{"device_server_id a string", contextWith(t, changes{"device_server_id": "7"}), "holds something else under device_server_id than bunq's SDKs or this program write there"},
		{"a session without an installation", contextWith(t, changes{"installation_context": nil, "device_server_id": nil}), "has lost the installation's token"},
		{"an installation without its token", contextWith(t, changes{"installation_context.token": nil, "device_server_id": nil}), "has lost the installation's token"},
		{"a device server without an installation", contextWith(t, changes{"installation_context": nil, "session_context": nil}), "has lost the installation's token"},
		{"a registration without an installation", `{"device_server_id":0,"device_server_requested":"mine"}`, "has lost the installation's token"},
		{"no server key", contextWith(t, changes{serverKey: nil}), "holds a public_key_server that is not an RSA public key in PEM"},
		{"server key damaged", contextWith(t, changes{serverKey: "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"}), "holds a public_key_server that is not an RSA public key in PEM"},
		{"server key of another kind", contextWith(t, changes{serverKey: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))}), "holds a public_key_server that is not an RSA public key in PEM"},
		{"private key damaged", contextWith(t, changes{privateKey: "secret§"}), "holds a private_key_client that is not an RSA private key in PKCS#8 or PKCS#1"},
		{"private key of another kind", contextWith(t, changes{privateKey: string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))}), "holds a private_key_client that is not an RSA private key in PKCS#8 or PKCS#1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			api := count(bank().api)
			config := restartConfig(t, api, test.text)
			client := newClient(t, config)
			for range 2 {
				_, err := list(t.Context(), client)
				if want := "the API context file " + config.ContextFile + " " + test.want + advice; err == nil || err.Error() != want {
					t.Errorf("the error is %v, want %s", err, want)
				}
			}
			after, err := os.ReadFile(config.ContextFile)
			if err != nil || string(after) != test.text {
				t.Errorf("the file has become %q (%v)", after, err)
			}
			if requests, _ := api.seen(""); requests != nil {
				t.Errorf("it sent %q", requests)
			}
		})
	}
}

func TestReadingThatCannotBeginSaysWhy(t *testing.T) {
	t.Parallel()
	failure := errors.New("open api_key: permission denied")
	noKey := func(config *bunq.Config) { config.APIKey = nil }
	for _, test := range []struct {
		name    string
		context string // "": no file
		change  func(*bunq.Config)
		want    string // FILE is the context file
	}{
		{
			"context of the other environment", contextWith(t, changes{"environment_type": "PRODUCTION"}), nil,
			"the API context file FILE is one for production, but the environment is configured as sandbox: correct the environment, or name another context file",
		},
		{
			"neither a key nor a file", "", noKey,
			"there is neither an API key nor a registered installation in FILE: provide an API key, or name the context file of an installation that exists",
		},
		{
			"neither a key nor an installation", `{"environment_type":"SANDBOX"}`, noKey,
			"there is neither an API key nor a registered installation in FILE: provide an API key, or name the context file of an installation that exists",
		},
		{
			"key that cannot be read", contextWith(t, notLoggedIn), func(config *bunq.Config) {
				config.APIKey = func() (string, error) { return "", failure }
			},
			failure.Error(),
		},
		{
			"registration without a description", contextWith(t, notRegistered), func(config *bunq.Config) { config.Description = "" },
			"a device server needs a description to be registered with",
		},
		{
			"login without the private key", contextWith(t, installationOnly), func(*bunq.Config) {},
			"FILE holds no private key, so no login can be signed: leave the API key out to read with the installation alone, or name a whole context file",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			api := count(bank().api)
			config := newConfig(t, api)
			if test.context != "" {
				config = restartConfig(t, api, test.context)
			}
			if test.change != nil {
				test.change(&config)
			}
			err := loginError(t, newClient(t, config)) // some go on to read with the installation
			if want := strings.ReplaceAll(test.want, "FILE", config.ContextFile); err == nil || err.Error() != want {
				t.Errorf("the error is %v, want %s", err, want)
			}
			if requests, _ := api.seen("POST"); requests != nil {
				t.Errorf("it sent %q", requests)
			}
		})
	}
}

func TestContextFileThatCannotBeWrittenIsFoundOutBeforeAnythingIsSent(t *testing.T) {
	t.Parallel()
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, path, want string }{
		{"no such folder", filepath.Join(t.TempDir(), "missing", "bunq.conf"), "its folder must exist and be writable for this program"},
		{"a folder that not even root can write", "/sys/bunq.conf", "its folder must exist and be writable for this program"},
		{"a file for a folder", filepath.Join(plain, "bunq.conf"), "reading the API context: "},
		{"a folder for a file", t.TempDir(), "reading the API context: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			api := count(http.NotFoundHandler())
			config := newConfig(t, api)
			config.ContextFile = test.path
			_, err := list(t.Context(), newClient(t, config))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("the error is %v, want %q in it", err, test.want)
			}
			if requests, _ := api.seen(""); requests != nil {
				t.Errorf("it sent %q", requests)
			}
		})
	}
}
