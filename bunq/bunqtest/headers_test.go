package bunqtest_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"bunq_exporter/bunq/bunqtest"
)

func TestRequestsWithoutAValidMandatoryHeaderAreRefused(t *testing.T) {
	invalid := map[string][]string{
		"User-Agent":               nil,
		"Cache-Control":            {"max-age=0"},
		"X-Bunq-Client-Request-Id": nil,
		"X-Bunq-Language":          {"de_DE", "en", "EN_us"},
		"X-Bunq-Region":            {"nl", "nl_NLD", "xxxxx"},
		"X-Bunq-Geolocation":       {"0 0 0 0", "0 0 0 0 00", "0 0 0 0 nl", "a b c d NL", "0 0 0 -1 000"},
	}
	simulate(t, bunqtest.Options{}, func(t *testing.T, api *bunqtest.Server) {
		c := loggedIn(t, api)
		for name, values := range invalid {
			for _, value := range append(values, "") {
				words := "The request header " + name + " is missing or invalid."
				c.get("device-server", with(name, value)).refused(http.StatusBadRequest, words)
				c.postSessionServer(with(name, value)).refused(http.StatusBadRequest, words)
			}
			c.get("device-server", without(name)).refused(http.StatusBadRequest, "The request header "+name)
			c.postInstallation(publicPEM(c.key), without(name)).refused(http.StatusBadRequest, "The request header "+name)
		}
		for _, value := range []string{"", "text/plain", "application/json; charset=utf-8"} {
			c.postSessionServer(with("Content-Type", value)).refused(http.StatusBadRequest, "The request header Content-Type")
		}
		c.get("device-server", with("X-Bunq-Geolocation", "0 0 0 0 000"), with("X-Bunq-Language", "en_US")).ok()
	})
}

func TestEveryAnswerHasAnIDOfItsOwnAndEchoesTheRequests(t *testing.T) {
	simulate(t, bunqtest.Options{}, func(t *testing.T, api *bunqtest.Server) {
		c := loggedIn(t, api)
		seen := map[string]bool{}
		for name, got := range map[string]*answer{
			"a":                           c.get("device-server", with("X-Bunq-Client-Request-Id", "a")).ok(),
			"bc 1":                        c.get("device-server/1", with("X-Bunq-Client-Request-Id", "bc 1")),
			"d":                           c.get("unknown", with("X-Bunq-Client-Request-Id", "d")),
			"1732271337000.1234":          c.postSessionServer(with("X-Bunq-Client-Request-Id", "1732271337000.1234")).ok(),
			strings.Repeat("long ", 1000): c.get("device-server", without("X-Bunq-Language"), with("X-Bunq-Client-Request-Id", strings.Repeat("long ", 1000))),
		} {
			got.identified()
			if echo := got.header.Get("X-Bunq-Client-Request-Id"); echo != name {
				t.Errorf("request id %.20q came back as %.20q", name, echo)
			}
			id := got.header.Get("X-Bunq-Client-Response-Id")
			if seen[id] {
				t.Errorf("response id %s came twice", id)
			}
			seen[id] = true
		}
	})
}

func TestRequestIDsAreTakenOnce(t *testing.T) {
	const words = "The request id has been used before by this device server."
	simulate(t, bunqtest.Options{}, func(t *testing.T, api *bunqtest.Server) {
		c := loggedIn(t, api)
		again := with("X-Bunq-Client-Request-Id", "again")
		c.get("device-server", again).ok()
		c.get("device-server", again).refused(http.StatusBadRequest, words)
		c.postSessionServer(again).refused(http.StatusBadRequest, words) // one installation, whatever the token
		other := newRawClient(t, api)
		other.key = otherKey()
		other.install().register().login().get("device-server", again).ok()
	})
}

func TestWarningComesWithEveryAnswer(t *testing.T) {
	const text = "Your API key will expire."
	simulate(t, bunqtest.Options{Warning: text}, func(t *testing.T, api *bunqtest.Server) {
		c := newRawClient(t, api)
		for _, got := range []*answer{c.postInstallation(publicPEM(c.key)).ok(), c.get("device-server"), c.get("unknown")} {
			if warning := got.header.Get("X-Bunq-Warning"); warning != text {
				t.Errorf("HTTP status %d with X-Bunq-Warning %q", got.status, warning)
			}
		}
	})
	simulate(t, bunqtest.Options{}, func(t *testing.T, api *bunqtest.Server) {
		if got := newRawClient(t, api).get("device-server"); got.header["X-Bunq-Warning"] != nil {
			t.Error("a warning although there is none")
		}
	})
}

func TestWhatBunqDoesNotServeIsNotFound(t *testing.T) {
	simulate(t, bunqtest.Options{}, func(t *testing.T, api *bunqtest.Server) {
		c := loggedIn(t, api)
		for _, call := range [][2]string{
			{"GET", "/"}, {"GET", "/v1"}, {"GET", "/v1/"}, {"GET", "/device-server"}, {"GET", "/v2/device-server"},
			{"GET", "/v1/device-server/"}, {"GET", "/v1/device-server/1/"}, {"GET", "/v1/Device-Server"},
			{"GET", "/v1//device-server"}, {"GET", "/v1/./device-server"}, {"GET", "/v1/user"},
			{"GET", "/v1/installation"}, {"GET", "/v1/session-server"}, {"HEAD", "/v1/device-server"},
			{"PUT", "/v1/device-server/1"}, {"DELETE", "/v1/device-server/1"}, {"PATCH", "/v1/device-server"},
		} {
			got := c.do(call[0], call[1], c.session, "")
			if got.status != http.StatusNotFound {
				t.Errorf("%s %s: HTTP status %d, want 404", call[0], call[1], got.status)
				continue
			}
			got.refused(http.StatusNotFound, "Route not found.")
		}
		for _, id := range []string{"999999", "0", "-1", "x", "99999999999999999999"} {
			c.get("device-server/"+id).refused(http.StatusNotFound, "DeviceServer not found.")
		}
	})
}

// A handler that is tried without a network needs an address of its client's all the same.
func TestRequestFromNowhereIsAnErrorOfTheServers(t *testing.T) {
	api := newServer(t, bunqtest.Options{ErrorsSigned: true})
	r := httptest.NewRequest(http.MethodGet, "/v1/device-server", nil)
	r.RemoteAddr = "nowhere"
	recorder := httptest.NewRecorder()
	api.ServeHTTP(recorder, r)
	got := &answer{t, recorder.Code, recorder.Header(), recorder.Body.Bytes()}
	got.refused(http.StatusInternalServerError, "The address of the client is unknown.")
	if got.header["X-Bunq-Server-Signature"] != nil {
		t.Error("an answer of 500 is signed")
	}
}
