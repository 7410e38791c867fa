package bunq_test

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
)

// tap keeps the requests on their way to an API.
type tap struct {
	http.Handler
	mu       sync.Mutex
	requests []tapped
}

type tapped struct {
	operation string
	header    http.Header
	body      string
}

func (p *tap) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	p.requests = append(p.requests, tapped{r.Method + " " + r.URL.Path, r.Header.Clone(), string(body)})
	p.mu.Unlock()
	r.Body = io.NopCloser(strings.NewReader(string(body)))
	p.Handler.ServeHTTP(w, r)
}

func TestEveryRequestCarriesTheHeadersThatBunqWants(t *testing.T) {
	t.Parallel()
	api := &tap{Handler: newAPI(t, bunqtest.Options{}, devices(1)...)}
	config, told := newConfig(t, api), &recorder{}
	config.Observe = told.observe
	client := newClient(t, config)
	mustRead(t, client)
	if _, err := client.DeviceServer(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	requests, document := api.requests, readContextFile(t, config)
	installation := document["installation_context"].(map[string]any)["token"].(string)
	session := document["session_context"].(map[string]any)["token"].(string)

	type special struct {
		Operation, Authentication string
		Signed                    bool
	}
	want := []special{
		{"POST /v1/installation", "", false},
		{"POST /v1/device-server", installation, true},
		{"POST /v1/session-server", installation, true},
		{"GET /v1/device-server", session, false},
		{"GET /v1/device-server/1", session, false},
	}
	var got []special
	var ids []string
	for i, request := range requests {
		header := request.header
		for name, want := range map[string]string{
			"User-Agent": "bunq_exporter/test", "Cache-Control": "no-cache", "X-Bunq-Language": "en_US",
			"X-Bunq-Region": "nl_NL", "X-Bunq-Geolocation": "0 0 0 0 000",
		} {
			if diff := cmp.Diff([]string{want}, header[name]); diff != "" {
				t.Errorf("%s: %s, -want +sent:\n%s", request.operation, name, diff)
			}
		}
		id := header.Get("X-Bunq-Client-Request-Id")
		if uuid.Validate(id) != nil || id != told.calls[i].RequestID {
			t.Errorf("%s: the request id is %q, want a UUID, and the one that the observer is told: %q", request.operation, id, told.calls[i].RequestID)
		}
		ids = append(ids, id)
		got = append(got, special{request.operation, header.Get("X-Bunq-Client-Authentication"), header.Get("X-Bunq-Client-Signature") != ""})
		if isPost := strings.HasPrefix(request.operation, "POST"); isPost != (header.Get("Content-Type") == "application/json") || isPost == (request.body == "") {
			t.Errorf("%s: content type %q, body %q", request.operation, header.Get("Content-Type"), request.body)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("requests, -want +sent:\n%s", diff)
	}
	if slices.Sort(ids); len(slices.Compact(ids)) != len(requests) {
		t.Errorf("a request id is sent twice: %q", ids)
	}
}

func TestBodiesHoldWhatBunqDocumentsAndNoMore(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name         string
		context      string
		permittedIPs []string
		want         string
	}{
		{"registration from one address", contextWith(t, notRegistered), nil, `{"description":"bunq_exporter","secret":"` + apiKey + `"}`},
		{"registration from any address", contextWith(t, notRegistered), []string{"192.0.2.1", "*"}, `{"description":"bunq_exporter","secret":"` + apiKey + `","permitted_ips":["192.0.2.1","*"]}`},
		{"login", contextWith(t, notLoggedIn), []string{"*"}, `{"secret":"` + apiKey + `"}`},
		{"reading", contextWith(t, nil), []string{"*"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			api := &tap{Handler: failing(http.StatusServiceUnavailable, nil, "")}
			config := restartConfig(t, api, test.context)
			config.PermittedIPs = test.permittedIPs
			_, err := list(t.Context(), newClient(t, config))
			expectReason(t, err, bunq.ReasonMaintenance)
			got := api.requests[0].body
			if got != test.want {
				t.Errorf("it sends %s, want %s", got, test.want)
			}
			for _, more := range api.requests[1:] { // a reading, where the login is refused
				if more.body != "" {
					t.Errorf("it sends %s besides", more.body)
				}
			}
		})
	}
}

func TestInstallationHandsOverAKeyOf2048Bits(t *testing.T) {
	t.Parallel()
	api := &tap{Handler: failing(http.StatusServiceUnavailable, nil, "")}
	_, err := list(t.Context(), newClient(t, newConfig(t, api)))
	expectReason(t, err, bunq.ReasonMaintenance)
	body := readDocument(t, []byte(api.requests[0].body))
	block, rest := pem.Decode([]byte(body["client_public_key"].(string)))
	if len(body) != 1 || block == nil || block.Type != "PUBLIC KEY" || len(rest) != 0 {
		t.Fatalf("it sends %s", api.requests[0].body)
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if rsaKey, ok := key.(*rsa.PublicKey); err != nil || !ok || rsaKey.N.BitLen() != 2048 {
		t.Errorf("the key is a %T (%v), want an RSA key of 2048 bits", key, err)
	}
}
