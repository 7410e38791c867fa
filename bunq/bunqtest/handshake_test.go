package bunqtest_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
)

// bunq's SDKs access the objects by index.
func TestHandshakeObjects(t *testing.T) {
	simulate(t, bunqtest.Options{}, func(t *testing.T, api *bunqtest.Server) {
		c := newRawClient(t, api).install()
		got := ""
		for _, answer := range []*answer{
			c.postInstallation(publicPEM(c.key)), c.postDeviceServer(nil), c.postSessionServer(),
		} {
			for _, object := range answer.ok().content.Response {
				for key := range object {
					got += key + " "
				}
			}
		}
		if want := "Id Token ServerPublicKey Id Id Token UserPerson "; got != want {
			t.Errorf("objects %s, want %s", got, want)
		}
		first := c.login().session
		c.login().do(http.MethodGet, "/v1/device-server", first, "").ok()
		if c.session == first {
			t.Error("two sessions have the same token")
		}
	})
}

func TestSessionUsers(t *testing.T) {
	simulate(t, bunqtest.Options{}, func(t *testing.T, api *bunqtest.Server) {
		c := newRawClient(t, api).install().register()
		person := c.postSessionServer().object(2, "UserPerson")
		c.apiKey = otherAPIKey
		oauth := c.register().postSessionServer().object(2, "UserApiKey")
		company := oauth["requested_by_user"].(map[string]any)["UserCompany"].(map[string]any)
		if person["session_timeout"] != 3600. || company["session_timeout"] != 3600. {
			t.Errorf("users %v and %v, want a session_timeout of 3600", person, oauth)
		}
	})
}

func TestRegisterTwice(t *testing.T) {
	simulate(t, bunqtest.Options{}, func(t *testing.T, api *bunqtest.Server) {
		addDevices(api, 2)
		c := newRawClient(t, api).install().register().register()
		want := bunq.DeviceServer{
			ID: c.device, Created: time.Now().UTC(), Updated: time.Now().UTC(),
			Description: "raw", IP: home, Status: bunq.StatusActive,
		}
		all, requests := api.DeviceServers(), api.Requests(bunq.CreateDeviceServer)
		if len(all) != 4 || all[0] != want || requests != 2 {
			t.Errorf("device servers %+v after %d requests, want 4, the first %+v", all, requests, want)
		}
	})
	simulate(t, bunqtest.Options{AlreadyExists: true}, func(t *testing.T, api *bunqtest.Server) {
		newRawClient(t, api).install().register().postDeviceServer(nil).has(400, "device already exists")
		newRawClient(t, api).install().register() // another installation with the same key
	})
}

func TestInstallationKeys(t *testing.T) {
	valid := publicPEM(bunqtest.ClientKey(1))
	const begin, end = "-----BEGIN PUBLIC KEY-----\n", "\n-----END PUBLIC KEY-----\n"
	const short = `MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDu2wQuvXNotlteq0/A85ZSMhh0
S9RsIHjCLQ3i1Cmh3GEf+qUKrDM386ansm7fg3DlA26cPbLHEfoiopycsf0VPNj+
gYLTVzzrJaBCbnCHc414BPYbL383MZvj1LrkPUehuGsuQ8NnWvexDxu3pOTDmeKt
EeNU6u0qhk/WTkT7GwIDAQAB`
	simulate(t, bunqtest.Options{}, func(t *testing.T, api *bunqtest.Server) {
		c := newRawClient(t, api)
		for key, want := range map[string]int{
			valid:                                   200,
			strings.ReplaceAll(valid, "\n", "\r\n"): 200,
			strings.ReplaceAll(valid, "PUBLIC", "RSA PUBLIC"): 400,
			"":                   400,
			begin + "AAAA" + end: 400,
			begin + short + end:  400,
			begin + "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=" + end: 400, // Ed25519
		} {
			c.postInstallation(key).has(want, "The client_public_key is not an RSA key of 2048 bits in PEM.")
		}
	})
}

func TestInvalidBodies(t *testing.T) {
	const secret, invalid = `"secret":"` + apiKey + `"`, "The request body is invalid"
	simulate(t, bunqtest.Options{Strict: true}, func(t *testing.T, api *bunqtest.Server) {
		c := newRawClient(t, api).install()
		for _, test := range []struct{ path, body, want string }{
			{"device-server", `secret=1`, invalid},
			{"device-server", ``, invalid},
			{"device-server", `{"secret":1}`, invalid},
			{"device-server", `{` + secret + `,"more":1}`, invalid},
			{"device-server", `{` + secret + `}`, "The description is missing."},
			{"device-server", `{"description":"d"}`, errCredentials},
			{"device-server", `{"description":"` + strings.Repeat("d", 2<<20) + `",` + secret + `}`, errSignature},
			{"installation", `{"client_public_key":1}`, invalid},
		} {
			c.do(http.MethodPost, "/v1/"+test.path, c.installation, test.body).has(400, test.want)
		}
	})
}
