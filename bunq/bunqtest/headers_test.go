package bunqtest_test

import (
	"strings"
	"testing"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
)

// Each client sends only these headers, the token and the signature. None sends a Content-Type.
func TestOtherClients(t *testing.T) {
	for name, headers := range map[string]map[string]string{
		"Python SDK": {
			"User-Agent": "bunq-sdk-python/1.13.1", "X-Bunq-Geolocation": "0 0 0 0 NL", "X-Bunq-Language": "en_US",
			"X-Bunq-Region": "nl_NL", "Cache-Control": "no-cache", "Accept": "*/*", "Connection": "keep-alive",
		},
		"User-Agent alone": {"User-Agent": "minimal/1", requestID: ""},
		"same request id":  {"User-Agent": "minimal/1", requestID: "1", "X-Bunq-Language": "", "X-Bunq-Region": ""},
	} {
		t.Log(name)
		simulate(t, bunqtest.Options{}, func(t *testing.T, api *bunqtest.Server) {
			c := newRawClient(t, api)
			c.headers = headers
			c.install().register([]string{}...).login()
			signed := with(signatureHeader, c.sign("")) // the SDKs sign their GETs too
			c.get("device-server?count=200", signed).ok()
			c.get("device-server/1", signed).has(404, "DeviceServer not found.")
			c.get("device-server", with("User-Agent", "")).has(400, "The request header User-Agent")
		})
	}
}

func TestStrict(t *testing.T) {
	simulate(t, bunqtest.Options{Strict: true}, func(t *testing.T, api *bunqtest.Server) {
		c := loggedIn(t, api)
		for name, values := range map[string][]string{
			"User-Agent":         {""},
			"Content-Type":       {"", "text/plain", "application/json; charset=utf-8"},
			"Cache-Control":      {"", "max-age=0"},
			requestID:            {""},
			"X-Bunq-Language":    {"", "de_DE", "en", "EN_us"},
			"X-Bunq-Region":      {"", "nl", "nl_NLD", "xxxxx"},
			"X-Bunq-Geolocation": {"", "0 0 0 0", "0 0 0 0 00", "0 0 0 0 nl", "a b c d NL", "0 0 0 -1 000"},
		} {
			for _, value := range values {
				c.postInstallation(publicPEM(c.key), with(name, value)).has(400, "The request header "+name)
			}
		}
		again := with(requestID, "again")
		c.get("device-server", again, with("Content-Type", ""), with("X-Bunq-Geolocation", "0 0 0 0 000")).ok()
		c.get("device-server", again).has(400, "The request id has been used before by this device server.")
		c.postSessionServer(again).has(400, "The request id has been used before by this device server.")
		loggedIn(t, api).get("device-server", again).ok() // another installation
	})
}

func TestResponseHeaders(t *testing.T) {
	simulate(t, bunqtest.Options{Warning: "Your API key will expire."}, func(t *testing.T, api *bunqtest.Server) {
		c := loggedIn(t, api)
		seen := map[string]bool{} // response ids
		for want, path := range map[string]string{
			"a": "device-server", "bc 1": "device-server/1", "1732.1": "unknown", "": "device-server?count=0",
		} {
			got := c.get(path, with(requestID, want)).header
			contentType, warning := got.Get("Content-Type"), got.Get("X-Bunq-Warning")
			if got.Get(requestID) != want || contentType != "application/json" || warning == "" {
				t.Errorf("%s, request id %q: headers %v", path, want, got)
			}
			seen[got.Get("X-Bunq-Client-Response-Id")] = true
		}
		if len(seen) != 4 {
			t.Errorf("response ids %v, want 4 different ones", seen)
		}
	})
}

func TestNotFound(t *testing.T) {
	simulate(t, bunqtest.Options{}, func(t *testing.T, api *bunqtest.Server) {
		api.AddDeviceServer(2, bunq.DeviceServer{ID: 7})
		c := loggedIn(t, api)
		for _, call := range []string{
			"GET /", "GET /v1/", "GET /device-server", "GET /v2/device-server", "GET /v1/Device-Server",
			"GET /v1//device-server", "GET /v1/user", "GET /v1/installation", "HEAD /v1/device-server",
			"PUT /v1/device-server/1",
		} {
			method, path, _ := strings.Cut(call, " ")
			c.do(method, path, c.session, "").has(404, "Route not found.")
		}
		for _, id := range []string{"7", "999999", "0", "-1", "x", "1/", "99999999999999999999"} {
			c.get("device-server/"+id).has(404, "DeviceServer not found.")
		}
	})
}
