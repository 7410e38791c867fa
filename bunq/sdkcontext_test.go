package bunq_test

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"testing"
	"testing/synctest"
	"time"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
)

// variant is how some SDK writes the same context.
type variant struct {
	name    string
	changed func(t *testing.T, key *rsa.PrivateKey, context map[string]any) changes
	prefix  string // of the file
	logins  int    // that it takes to read with it
}

func variants() []variant {
	return []variant{
		{"Python", func(*testing.T, *rsa.PrivateKey, map[string]any) changes {
			return changes{"device_server_id": nil, "proxy_url": json.RawMessage("null")}
		}, "", 0},
		{"Java, whose private key is bare base64", func(_ *testing.T, key *rsa.PrivateKey, _ map[string]any) changes {
			der, _ := x509.MarshalPKCS8PrivateKey(key)
			return changes{"device_server_id": nil, "proxy": json.RawMessage("null"), "installation_context.private_key_client": base64.StdEncoding.EncodeToString(der), "session_context": nil}
		}, "", 1},
		{"Java, whose keys are all bare base64", func(_ *testing.T, key *rsa.PrivateKey, context map[string]any) changes {
			der, _ := x509.MarshalPKCS8PrivateKey(key)
			block, _ := pem.Decode([]byte(context["public_key_server"].(string)))
			return changes{
				"installation_context.private_key_client": base64.StdEncoding.EncodeToString(der),
				"installation_context.public_key_server":  base64.StdEncoding.EncodeToString(block.Bytes), "session_context": nil,
			}
		}, "", 1},
		{"PHP, whose private key is PKCS#1", func(_ *testing.T, key *rsa.PrivateKey, _ map[string]any) changes {
			text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
			return changes{"device_server_id": nil, "installation_context.private_key_client": string(text), "session_context": nil}
		}, "", 1},
		{"PHP, whose user objects are in camelCase", func(*testing.T, *rsa.PrivateKey, map[string]any) changes {
			return changes{"session_context.user_person": nil, "session_context.userPerson": map[string]any{"id": 1}, "session_context.userCompany": json.RawMessage("null")}
		}, "", 0},
		{"C#, which begins with a byte order mark", func(*testing.T, *rsa.PrivateKey, map[string]any) changes {
			return changes{"device_server_id": nil}
		}, "\xef\xbb\xbf", 0},
		{"an old one, without user objects", func(*testing.T, *rsa.PrivateKey, map[string]any) changes {
			return changes{"session_context.user_person": nil, "session_context.user_id": nil, "device_server_id": nil}
		}, "", 0},
		{"a server key in PKCS#1", func(t *testing.T, _ *rsa.PrivateKey, context map[string]any) changes {
			block, _ := pem.Decode([]byte(context["public_key_server"].(string)))
			key, err := x509.ParsePKIXPublicKey(block.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			text := pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(key.(*rsa.PublicKey))})
			return changes{"installation_context.public_key_server": string(text)}
		}, "", 0},
		{"no environment", func(*testing.T, *rsa.PrivateKey, map[string]any) changes { return changes{"environment_type": nil} }, "", 0},
		{"no session", func(*testing.T, *rsa.PrivateKey, map[string]any) changes { return changes{"session_context": nil} }, "", 1},
		{"a session that is null", func(*testing.T, *rsa.PrivateKey, map[string]any) changes {
			return changes{"session_context": json.RawMessage("null")}
		}, "", 1},
		{"a session of another kind", func(*testing.T, *rsa.PrivateKey, map[string]any) changes { return changes{"session_context": "none"} }, "", 1},
		{"a session without a token", func(*testing.T, *rsa.PrivateKey, map[string]any) changes {
			return changes{"session_context.token": nil}
		}, "", 1},
		{"a session whose end cannot be read", func(*testing.T, *rsa.PrivateKey, map[string]any) changes {
			return changes{"session_context.expiry_time": "tomorrow"}
		}, "", 1},
		{"a session whose end is a number", func(*testing.T, *rsa.PrivateKey, map[string]any) changes {
			return changes{"session_context.expiry_time": 1434237556}
		}, "", 1},
	}
}

func TestContextFileOfEverySDKIsReadWithoutRegisteringAnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		api := newAPI(t, bunqtest.Options{}, devices(3)...)
		config := newConfig(t, api)
		mustRead(t, newClient(t, config))
		original, err := json.Marshal(readContextFile(t, config))
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range variants() {
			time.Sleep(time.Minute) // bunq's limits
			document := readDocument(t, original)
			installation := document["installation_context"].(map[string]any)
			block, _ := pem.Decode([]byte(installation["private_key_client"].(string)))
			key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			text := v.prefix + edited(t, original, v.changed(t, key.(*rsa.PrivateKey), installation))
			counted := count(api)
			mustRead(t, newClient(t, restartConfig(t, counted, text)))
			posts, _ := counted.seen("POST")
			if len(posts) != v.logins || v.logins == 1 && posts[0] != "POST /v1/session-server" {
				t.Errorf("%s: it sent %q, want %d logins", v.name, posts, v.logins)
			}
		}
		if got := api.Requests(bunq.CreateDeviceServer); got != 1 {
			t.Errorf("%d device servers were registered, want the first alone", got)
		}
	})
}
