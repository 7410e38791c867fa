package bunq_test

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
)

func TestClientAllCalls(t *testing.T) {
	for _, options := range []bunqtest.Options{
		{Strict: true}, {Strict: true, OlderSignatures: true, ErrorsSigned: true, RegistrationSigned: true, Warning: "Old."},
	} {
		synctest.Test(t, func(t *testing.T) { callAll(t, newAPI(options, 450), options.Warning) })
	}
}

func callAll(t *testing.T, api *bunqtest.Server, warning string) {
	client, calls := newClient(t, api)
	login := bunq.Credentials{PrivateKey: bunqtest.ClientKey(1)}
	installation, errInstallation := client.CreateInstallation(t.Context(), &login.PrivateKey.PublicKey)
	login.Token, login.ServerKey = installation.Token, installation.ServerKey
	registration := bunq.Registration{Description: "mine", APIKey: apiKey, PermittedIPs: []string{"192.0.2.1", "*"}}
	id, errDevice := client.CreateDeviceServer(t.Context(), login, registration)
	session, err := client.CreateSession(t.Context(), login, apiKey)
	if err := errors.Join(errInstallation, errDevice, err); err != nil {
		t.Fatal(err)
	}
	if session.Timeout != time.Hour || session.User.ID != 1 || time.Since(installation.Created) > time.Second {
		t.Errorf("the installation is %+v, the session %+v", installation, session)
	}
	reader := bunq.Credentials{Token: session.Token, ServerKey: installation.ServerKey}
	all, err := list(t.Context(), client, reader)
	if diff := cmp.Diff(api.DeviceServers(), all); diff != "" || err != nil || len(*calls) != 3+3 {
		t.Errorf("%d calls: %v, -want +got:\n%s", len(*calls), err, diff)
	}
	if own, err := client.DeviceServer(t.Context(), reader, id); err != nil || own.Description != "mine" {
		t.Errorf("the own device server is %+v: %v", own, err)
	}
	expectReason(t, errorOf(client.DeviceServer(t.Context(), reader, 9999)), bunq.ReasonNotFound)
	for _, call := range *calls {
		ok := call.StatusCode == http.StatusOK
		if call.Warning != warning || uuid.Validate(call.ResponseID) != nil || (call.Err == nil) != ok {
			t.Errorf("the call is %+v", call)
		}
	}
}

func TestClientRequests(t *testing.T) {
	for operation, want := range map[bunq.Operation]string{ // URI, body, token
		bunq.CreateInstallation:  `/v1/installation {"client_public_key":"-----BEGIN PUBLIC KEY-----\n`,
		bunq.CreateDeviceServer:  `/v1/device-server {"description":"mine","secret":"` + apiKey + `"} ` + token,
		bunq.CreateSessionServer: `/v1/session-server {"secret":"` + apiKey + `"} ` + token,
		bunq.ListDeviceServers:   "/v1/device-server?count=200  " + token,
		bunq.ReadDeviceServer:    "/v1/device-server/7  " + token,
	} {
		client, calls := connect(t, bunq.Config{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			body, _ := io.ReadAll(r.Body)
			isPost, isSigned := r.Method == http.MethodPost, r.Header.Get("X-Bunq-Client-Signature") != ""
			got := r.URL.RequestURI() + " " + string(body) + " " + r.Header.Get("X-Bunq-Client-Authentication")
			mustSign := isPost && strings.HasSuffix(got, token)
			if !strings.HasPrefix(got, want) || r.Method != operation.Method || isSigned != mustSign {
				t.Errorf("%s is a %s, signed %v: %s", operation, r.Method, isSigned, got)
			}
			for name, want := range map[string]string{
				"Cache-Control": "no-cache", "User-Agent": "bunq_exporter/test", "X-Bunq-Geolocation": "0 0 0 0 000",
				"X-Bunq-Language": "en_US", "X-Bunq-Region": "nl_NL",
			} {
				if got := r.Header.Get(name); got != want {
					t.Errorf("%s: %s is %q", operation, name, got)
				}
			}
			return nil, io.EOF
		})})
		err := makers[operation](t.Context(), client)
		if expectReason(t, err, bunq.ReasonNetwork); len(*calls) != 1 || apiError(t, err).Operation != operation {
			t.Errorf("%s: calls are %+v", operation, *calls)
		}
	}
}

func TestClientBaseURL(t *testing.T) {
	for _, base := range []string{bunq.Production.BaseURL(), bunq.Sandbox.BaseURL() + "/", "http://127.0.0.1:8080/v1"} {
		transport := roundTripper(func(r *http.Request) (*http.Response, error) {
			if got, want := r.URL.String(), strings.TrimSuffix(base, "/")+"/device-server/7"; got != want {
				t.Errorf("the request goes to %s, want %s", got, want)
			}
			return nil, io.EOF
		})
		client, _ := connect(t, bunq.Config{BaseURL: base, Transport: transport})
		expectReason(t, read(t.Context(), client), bunq.ReasonNetwork)
	}
	for _, base := range []string{"a", "https://[a"} {
		client, _ := connect(t, bunq.Config{BaseURL: base})
		if err := read(t.Context(), client); err == nil {
			t.Errorf("%q can be read", base)
		}
	}
}

func TestAnswerVerified(t *testing.T) {
	const name, requestID = "X-Bunq-Server-Signature", "X-Bunq-Client-Request-Id"
	body := `{"Response":[` + item(7) + `]}`
	other := httptest.NewRecorder()
	signed(http.StatusOK, `{"Response":[`+item(8)+`]}`)(other, httptest.NewRequest(http.MethodGet, "/", nil))
	older := bunqtest.New(bunqtest.Options{OlderSignatures: true, Warning: "Deprecated."})
	for what, test := range map[string]struct {
		api         *bunqtest.Server
		name, value string // of a header to set
		want        bunq.Reason
	}{
		"body":                        {signer, "Via", "proxy", ""},
		"older scheme":                {older, "Via", "proxy", ""},
		"older scheme, other warning": {older, "X-Bunq-Warning", "None.", bunq.ReasonSignature},
		"missing":                     {signer, name, "", bunq.ReasonSignature},
		"not base64":                  {signer, name, "§§§", bunq.ReasonSignature},
		"another body":                {signer, name, other.Header().Get(name), bunq.ReasonSignature},
		"without echo":                {signer, requestID, "", ""},
		"of another request":          {signer, requestID, responseID, bunq.ReasonMalformed},
	} {
		client, _ := newClient(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			answer := httptest.NewRecorder()
			test.api.Answer(answer, r, http.StatusOK, []byte(body))
			maps.Copy(w.Header(), answer.Header())
			w.Header().Set(test.name, test.value)
			_, _ = w.Write(answer.Body.Bytes())
		}))
		if err := read(t.Context(), client); bunq.ReasonOf(err) != test.want {
			t.Errorf("%s: the error is %v, want %q", what, err, test.want)
		}
	}
	client, _ := newClient(t, signed(http.StatusOK, body))
	foreign := bunq.Credentials{Token: token, ServerKey: &bunqtest.ClientKey(1).PublicKey}
	expectReason(t, errorOf(client.DeviceServer(t.Context(), foreign, 7)), bunq.ReasonSignature)
}

func TestAnswerVerifiedOfAllCalls(t *testing.T) {
	for operation, makeCall := range makers {
		client, _ := newClient(t, unsigned(http.StatusOK, "Via", "proxy", `{"Response":[{"Id":{"id":7}}]}`))
		if operation != bunq.CreateInstallation { // whose answer brings the key
			expectReason(t, makeCall(t.Context(), client), bunq.ReasonSignature)
		}
	}
}

func TestLoginAnswers(t *testing.T) {
	for _, operation := range operations[:3] {
		for want, objects := range answers(operation.String()) {
			client, _ := newClient(t, signed(http.StatusOK, `{"Response":[`+objects+`]}`))
			if want == string(bunq.ReasonMalformed) {
				err := makers[operation](t.Context(), client)
				if expectReason(t, err, bunq.ReasonMalformed); err != nil && strings.Contains(err.Error(), token) {
					t.Errorf("%s %s: %v", operation, objects, err)
				}
				continue
			}
			got, err := client.CreateSession(t.Context(), credentials, apiKey)
			isUser := got.User.ID == 42 && strings.Contains(objects, `"`+got.User.Kind+`":`+string(got.User.JSON))
			if err != nil || got.Timeout.String() != want || got.Token != token || !isUser {
				t.Errorf("%s: the session is %+v: %v", objects, got, err)
			}
		}
	}
}

func TestKeys(t *testing.T) {
	key := bunqtest.ClientKey(0)
	private, public := bunq.EncodePrivateKey(key), bunq.EncodePublicKey(&key.PublicKey)
	parsed, err := bunq.ParsePrivateKey(private)
	parsedPublic, errParse := bunq.ParsePublicKey(public)
	if err = errors.Join(err, errParse); err != nil || !parsed.Equal(key) || !parsedPublic.Equal(&key.PublicKey) {
		t.Errorf("a parsed key is another one: %v", err)
	}
	for _, text := range []string{"", "secret§", "AAAA", public, private[:500]} {
		if _, err := bunq.ParsePrivateKey(text); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("private key %.40q: %v", text, err)
		}
	}
}
