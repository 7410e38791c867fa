package bunqtest_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
)

// rawKeys returns the key of each object of the Response array, and the keys in it as they stand in the body.
func rawKeys(t *testing.T, body []byte) (keys []string, inner [][]string) {
	t.Helper()
	var envelope struct {
		Response []map[string]json.RawMessage
	}
	if err := json.Unmarshal(body, &envelope); err != nil {
		t.Fatal(err)
	}
	for _, object := range envelope.Response {
		if len(object) != 1 {
			t.Errorf("an object of the Response has %d keys, want 1", len(object))
		}
		for key, value := range object {
			keys = append(keys, key)
			inner = append(inner, keyOrder(t, value))
		}
	}
	return keys, inner
}

// keyOrder returns the keys of a JSON object without nested ones, in the order of the text.
func keyOrder(t *testing.T, text []byte) (keys []string) {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(text))
	for i := 0; decoder.More() || i == 0; i++ {
		token, err := decoder.Token()
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 1 {
			keys = append(keys, token.(string))
		}
	}
	return keys
}

// SDKs index the array: Response[1] is the token wherever the other keys stand.
func TestObjectsComeInTheOrderThatSDKsIndex(t *testing.T) {
	simulate(t, bunqtest.Options{}, func(t *testing.T, api *bunqtest.Server) {
		c := newRawClient(t, api)
		installation := c.postInstallation(publicPEM(otherKey())).ok()
		c.install()
		registration := c.postDeviceServer(nil).ok()
		session := c.postSessionServer().ok()
		for name, check := range map[string]struct {
			body []byte
			want []string
		}{
			"installation":   {installation.body, []string{"Id", "Token", "ServerPublicKey"}},
			"device-server":  {registration.body, []string{"Id"}},
			"session-server": {session.body, []string{"Id", "Token", "UserPerson"}},
		} {
			if got, _ := rawKeys(t, check.body); !slices.Equal(got, check.want) {
				t.Errorf("%s: objects %q, want %q", name, got, check.want)
			}
			if !bytes.HasPrefix(check.body, []byte(`{"Response":[{"Id":{"id":`)) {
				t.Errorf("%s: body begins %.30s", name, check.body)
			}
		}
		token := session.objects()[1]["Token"]
		if value := token["token"].(string); !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(value) {
			t.Errorf("token %q is not 64 hexadecimal digits", value)
		}
		want := time.Now().UTC().Format("2006-01-02 15:04:05.000000")
		if token["created"] != want || token["updated"] != want {
			t.Errorf("token made at %v, updated at %v, want %s", token["created"], token["updated"], want)
		}
	})
}

func TestSessionNamesTheKindOfUserWithItsTimeout(t *testing.T) {
	for kind, timeout := range map[string][]string{
		"UserPerson":                 {"session_timeout"},
		"UserCompany":                {"session_timeout"},
		"UserPaymentServiceProvider": {"session_timeout"},
		"UserApiKey":                 {"requested_by_user", "UserCompany", "session_timeout"}, // OAuth
	} {
		t.Run(kind, func(t *testing.T) {
			simulateFor(t, bunqtest.Options{}, bunqtest.User{Kind: kind, SessionTimeout: time.Hour}, func(t *testing.T, api *bunqtest.Server) {
				user := newRawClient(t, api).install().register().postSessionServer().ok().objects()[2]
				var at any = user[kind]
				for _, key := range timeout {
					at = at.(map[string]any)[key]
				}
				if at != 3600. {
					t.Errorf("%v is %v, want 3600", timeout, at)
				}
				if user[kind]["id"] != 1. {
					t.Errorf("id of the user is %v, want 1", user[kind]["id"])
				}
				if _, direct := user[kind]["session_timeout"]; direct != (kind != "UserApiKey") {
					t.Errorf("session_timeout beside the id: %t", direct)
				}
			})
		})
	}
}

func TestEveryRegistrationMakesOneMoreDeviceServer(t *testing.T) {
	simulate(t, bunqtest.Options{}, func(t *testing.T, api *bunqtest.Server) {
		addDevices(api, 2)
		c := newRawClient(t, api).install()
		for n := 3; n <= 5; n++ {
			c.register()
			all := api.DeviceServers()
			if len(all) != n || all[0].ID != c.device {
				t.Fatalf("%d device servers, the newest %d; want %d and %d", len(all), all[0].ID, n, c.device)
			}
			want := bunq.DeviceServer{
				ID: c.device, Created: time.Now().UTC(), Updated: time.Now().UTC(), Description: "raw", IP: home, Status: bunq.StatusActive,
			}
			if all[0] != want {
				t.Errorf("made %+v, want %+v", all[0], want)
			}
		}
		if got := api.Requests(bunq.CreateDeviceServer); got != 3 {
			t.Errorf("%d requests counted, want 3", got)
		}
	})
}

func TestEverySessionIsOneMore(t *testing.T) {
	simulate(t, bunqtest.Options{}, func(t *testing.T, api *bunqtest.Server) {
		c := loggedIn(t, api)
		first := c.session
		c.login()
		if api.Sessions() != 2 || c.session == first {
			t.Errorf("%d sessions, the same token: %t", api.Sessions(), c.session == first)
		}
		c.do(http.MethodGet, "/v1/device-server", first, "").ok() // an earlier session goes on
	})
}

func TestInstallationTakesOnlyAFreshRSAKeyOf2048Bits(t *testing.T) {
	const invalid = "The client_public_key is not an RSA key of 2048 bits in PEM."
	fine := publicPEM(testKey())
	for name, key := range map[string]string{
		"not PEM":          "a key",
		"nothing":          "",
		"1024 bits":        publicPEM(newKey(1024)),
		"3072 bits":        publicPEM(newKey(3072)),
		"another PEM type": strings.ReplaceAll(fine, "PUBLIC KEY", "RSA PUBLIC KEY"),
		"no key in PEM":    "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
		"elliptic curve": "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n" +
			"-----END PUBLIC KEY-----\n",
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, bunqtest.Options{}, func(t *testing.T, api *bunqtest.Server) {
				newRawClient(t, api).postInstallation(key).refused(http.StatusBadRequest, invalid)
			})
		})
	}
	t.Run("reused", func(t *testing.T) {
		simulate(t, bunqtest.Options{}, func(t *testing.T, api *bunqtest.Server) {
			newRawClient(t, api).install().postInstallation(fine).refused(http.StatusBadRequest, "The client_public_key is in use already.")
		})
	})
	t.Run("with the line ends of other systems", func(t *testing.T) {
		simulate(t, bunqtest.Options{}, func(t *testing.T, api *bunqtest.Server) {
			newRawClient(t, api).postInstallation(strings.ReplaceAll(fine, "\n", "\r\n")).ok()
		})
	})
}

func TestBodiesThatBunqDoesNotKnowAreRefused(t *testing.T) {
	secret := `"secret":"` + apiKey + `"`
	for name, request := range map[string]struct{ path, body, words string }{
		"no JSON":               {"session-server", `secret=1`, "The request body is invalid"},
		"no body":               {"session-server", ``, "The request body is invalid"},
		"another type":          {"session-server", `{"secret":1}`, "The request body is invalid"},
		"something after it":    {"session-server", `{` + secret + `}{}`, "The request body is invalid"},
		"key in another case":   {"session-server", `{"Secret":"` + apiKey + `"}`, "The request body is invalid"},
		"session: unknown key":  {"session-server", `{` + secret + `,"more":1}`, "The request body is invalid"},
		"device: unknown key":   {"device-server", `{"description":"d",` + secret + `,"status":"ACTIVE"}`, "The request body is invalid"},
		"device: no name":       {"device-server", `{` + secret + `}`, "The description is missing."},
		"device: no address":    {"device-server", `{"description":"d",` + secret + `,"permitted_ips":["192.0.2"]}`, "The permitted_ips hold"},
		"device: no key":        {"device-server", `{"description":"d"}`, wordsCredentials},
		"installation: unknown": {"installation", `{"client_public_key":"","more":1}`, "The request body is invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, bunqtest.Options{}, func(t *testing.T, api *bunqtest.Server) {
				c := newRawClient(t, api).install().register()
				c.do(http.MethodPost, "/v1/"+request.path, c.installation, request.body).refused(http.StatusBadRequest, request.words)
				if n := len(api.DeviceServers()); n != 1 {
					t.Errorf("%d device servers, want none more than 1", n)
				}
			})
		})
	}
}
