package bunq_test

import (
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
)

func TestClientRequests(t *testing.T) {
	for operation, want := range map[bunq.Operation]string{ // URI, body, token
		bunq.CreateInstallation: `/v1/installation {"client_public_key":"-----BEGIN PUBLIC KEY-----\n`,
		bunq.CreateDeviceServer: `/v1/device-server {"description":"mine","secret":"` + apiKey +
			`","permitted_ips":["*"]} ` + token,
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
	body := `{"Response":[` + item(7) + `]}`
	older := bunqtest.New(bunqtest.Options{OlderSignatures: true, Warning: "Deprecated."})
	for what, test := range map[string]struct {
		api         *bunqtest.Server
		name, value string // of a header to set
		want        bunq.Reason
	}{
		"older scheme":                {older, "Via", "proxy", ""},
		"older scheme, other warning": {older, "X-Bunq-Warning", "None.", bunq.ReasonSignature},
		"without echo":                {signer, "X-Bunq-Client-Request-Id", "", ""},
		"of another request":          {signer, "X-Bunq-Client-Request-Id", responseID, bunq.ReasonMalformed},
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
