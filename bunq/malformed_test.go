package bunq_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"bunq_exporter/bunq"
)

// deviceServerWith is the answer to GET device-server/7, with a field replaced.
func deviceServerWith(old, changed string) string {
	return `{"Response":[` + strings.Replace(item(7), old, changed, 1) + `]}`
}

// These answers are signed by bunq: the signature is no reason to believe them.
func TestSignedNonsenseIsMalformed(t *testing.T) {
	t.Parallel()
	const created = `"created":"2015-06-13 23:19:16.215235"`
	const missing = "the id or the status of a device server is missing"
	const notTime = "created or updated is not a time such as 2015-06-13 23:19:16.215235"
	mistyped := func(field, value string) string {
		return "the answer's Response.DeviceServer." + field + " is a JSON " + value + ", which is not what bunq documents"
	}
	for _, test := range []struct{ name, body, want string }{
		{"nothing", "", "the answer cannot be read: unexpected end of JSON input"},
		{"HTML", "<html></html>", "the answer cannot be read: invalid character '<' looking for beginning of value"},
		{"cut off", `{"Response":[{"DeviceServer":{"id":7`, "the answer cannot be read: unexpected end of JSON input"},
		{"two documents", `{"Response":[` + item(7) + `]}{}`, "the answer cannot be read: invalid character '{' after top-level value"},
		{"no Response", `{}`, "the answer has no Response"},
		{"null", `null`, "the answer has no Response"},
		{"Response null", `{"Response":null}`, "the answer has no Response"},
		{"a list", "[" + item(7) + "]", `the answer's body is a JSON array, which is not what bunq documents`},
		{"Response of another kind", `{"Response":` + item(7) + `}`, `the answer's Response is a JSON object, which is not what bunq documents`},
		{"empty object", `{"Response":[{}]}`, "the answer has an object that is not a DeviceServer"},
		{"another object", `{"Response":[{"Payment":{"id":7}}]}`, "the answer has an object that is not a DeviceServer"},
		{"DeviceServer null", `{"Response":[{"DeviceServer":null}]}`, "the answer has an object that is not a DeviceServer"},
		{"no object", `{"Response":[]}`, "the answer is not the one device server 7"},
		{"two objects", `{"Response":[` + item(7) + `,` + item(6) + `]}`, "the answer is not the one device server 7"},
		{"another id", `{"Response":[` + item(8) + `]}`, "the answer is not the one device server 7"},
		{"id as a string", deviceServerWith(`"id":7`, `"id":"7"`), mistyped("id", "string")},
		{"id with a fraction", deviceServerWith(`"id":7`, `"id":7.5`), mistyped("id", "number 7.5")},
		{"id beyond 64 bits", deviceServerWith(`"id":7`, `"id":9223372036854775808`), mistyped("id", "number 9223372036854775808")},
		{"id 0", deviceServerWith(`"id":7`, `"id":0`), missing},
		{"id negative", deviceServerWith(`"id":7`, `"id":-7`), missing},
		{"id absent", deviceServerWith(`"id":7,`, ``), missing},
		{"status empty", deviceServerWith(`"ACTIVE"`, `""`), missing},
		{"status null", deviceServerWith(`"ACTIVE"`, `null`), missing},
		{"status a number", deviceServerWith(`"ACTIVE"`, `1`), mistyped("status", "number")},
		{"time in words", deviceServerWith(created, `"created":"yesterday"`), notTime},
		{"time empty", deviceServerWith(created, `"created":""`), notTime},
		{"time a number", deviceServerWith(created, `"created":1434237556`), mistyped("created", "number")},
		{
			"time very long", deviceServerWith(`"updated":"`, `"updated":"`+strings.Repeat("x", 1000)),
			notTime,
		},
		{"very large", `{"Response":[` + item(7) + `],"Meta":"` + strings.Repeat("x", 4<<20) + `"}`, "the answer is larger than 4194304 bytes"},
		{"very deep", strings.Repeat(`{"Response":[`, 100_000), "the answer cannot be read: invalid character '{' exceeded max depth"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := newClient(t, readerConfig(t, signed(http.StatusOK, test.body))).DeviceServer(t.Context(), 7)
			e := apiError(t, err)
			if e.Reason != bunq.ReasonMalformed || e.StatusCode != http.StatusOK || e.ResponseID == "" || e.Err == nil || e.Err.Error() != test.want {
				t.Errorf("the error is %.300s, want %s", err, test.want)
			}
			if got != (bunq.DeviceServer{}) {
				t.Errorf("a device server beside the error: %+v", got)
			}
		})
	}
}

func TestLargestAnswerIsStillRead(t *testing.T) {
	t.Parallel()
	head, tail := `{"Response":[`+item(7)+`],"Meta":"`, `"}`
	body := head + strings.Repeat("x", 4<<20-len(head)-len(tail)) + tail
	if _, err := newClient(t, readerConfig(t, signed(http.StatusOK, body))).DeviceServer(t.Context(), 7); err != nil {
		t.Error(err)
	}
}

// Whoever logs in or registers gets secrets in the answer: nothing of it is quoted.
func TestMalformedAnswerToTheHandshakeSaysWhatIsWrongWithIt(t *testing.T) {
	t.Parallel()
	const (
		id         = `{"Id":{"id":7}}`
		token      = `{"Token":{"id":7,"created":"2015-06-13 23:19:16.215235","token":"secret"}}`
		noResponse = `the answer is not a {"Response":[…]} with objects in it`
		noTime     = "the answer's session_timeout is not a time in seconds"
	)
	publicKey, err := json.Marshal(contextValue(t, "installation_context", "public_key_server"))
	if err != nil {
		t.Fatal(err)
	}
	serverKey := `{"ServerPublicKey":{"server_public_key":` + string(publicKey) + `}}`
	for _, test := range []struct {
		operation  bunq.Operation
		name, body string
		want       string
	}{
		{bunq.CreateInstallation, "HTML", "<html>", noResponse},
		{bunq.CreateInstallation, "nothing", `{"Response":[]}`, noResponse},
		{bunq.CreateInstallation, "no Token", `{"Response":[` + id + `,` + serverKey + `]}`, "the answer has no Token"},
		{bunq.CreateInstallation, "empty token", `{"Response":[` + id + `,{"Token":{"token":""}},` + serverKey + `]}`, "the answer's Token is empty"},
		{bunq.CreateInstallation, "token a number", `{"Response":[` + id + `,{"Token":{"token":7}},` + serverKey + `]}`, "the answer's Token is not what bunq documents"},
		{bunq.CreateInstallation, "no key", `{"Response":[` + id + `,` + token + `]}`, "the answer has no ServerPublicKey"},
		{bunq.CreateInstallation, "token without a date", `{"Response":[{"Token":{"token":"0123"}},` + serverKey + `]}`, "the answer's Token does not say when it was created"},
		{bunq.CreateInstallation, "key empty", `{"Response":[` + token + `,{"ServerPublicKey":{}}]}`, "not an RSA public key in PEM"},
		{bunq.CreateInstallation, "key damaged", `{"Response":[` + token + `,{"ServerPublicKey":{"server_public_key":"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"}}]}`, "not an RSA public key in PEM"},
		{bunq.CreateInstallation, "key of another kind", `{"Response":[` + token + `,{"ServerPublicKey":"none"}]}`, "the answer's ServerPublicKey is not what bunq documents"},

		{bunq.CreateDeviceServer, "HTML", "<html>", noResponse},
		{bunq.CreateDeviceServer, "null", `null`, noResponse},
		{bunq.CreateDeviceServer, "flat", `{"Id":{"id":7}}`, noResponse},
		{bunq.CreateDeviceServer, "no Id", `{"Response":[{}]}`, "the answer has no Id"},
		{bunq.CreateDeviceServer, "Id a string", `{"Response":[{"Id":{"id":"7"}}]}`, "the answer's Id is not what bunq documents"},
		{bunq.CreateDeviceServer, "Id 0", `{"Response":[{"Id":{"id":0}}]}`, "the answer's Id is not a positive number"},
		{bunq.CreateDeviceServer, "Id null", `{"Response":[{"Id":null}]}`, "the answer's Id is not a positive number"},

		{bunq.CreateSessionServer, "HTML", "<html>", noResponse},
		{bunq.CreateSessionServer, "no Token", `{"Response":[` + id + `]}`, "the answer has no Token"},
		{bunq.CreateSessionServer, "empty token", `{"Response":[` + id + `,{"Token":{}}]}`, "the answer's Token is empty"},
		{bunq.CreateSessionServer, "no user", `{"Response":[` + id + `,` + token + `]}`, "the answer has no user object"},
		{bunq.CreateSessionServer, "another user", `{"Response":[` + token + `,{"UserLight":{"session_timeout":600}}]}`, "the answer has no user object"},
		{bunq.CreateSessionServer, "user a string", `{"Response":[` + token + `,{"UserPerson":"me"}]}`, "the answer's UserPerson is not what bunq documents"},
		{bunq.CreateSessionServer, "no time", `{"Response":[` + token + `,{"UserPerson":{"id":1}}]}`, noTime},
		{bunq.CreateSessionServer, "time 0", `{"Response":[` + token + `,{"UserCompany":{"id":1,"session_timeout":0}}]}`, noTime},
		{bunq.CreateSessionServer, "time negative", `{"Response":[` + token + `,{"UserCompany":{"id":1,"session_timeout":-600}}]}`, noTime},
		{bunq.CreateSessionServer, "time huge", `{"Response":[` + token + `,{"UserPerson":{"id":1,"session_timeout":9223372036854775807}}]}`, noTime},
		{bunq.CreateSessionServer, "time in milliseconds", `{"Response":[` + token + `,{"UserPerson":{"id":1,"session_timeout":604800000}}]}`, noTime},
		{bunq.CreateSessionServer, "OAuth without its user", `{"Response":[` + token + `,{"UserApiKey":{"id":1}}]}`, "the answer's UserApiKey has no user in requested_by_user"},
		{bunq.CreateSessionServer, "OAuth of another user", `{"Response":[` + token + `,{"UserApiKey":{"id":1,"requested_by_user":{"UserLight":{}}}}]}`, "the answer's UserApiKey has no user in requested_by_user"},
		{bunq.CreateSessionServer, "OAuth user a string", `{"Response":[` + token + `,{"UserApiKey":{"id":1,"requested_by_user":{"UserPerson":"me"}}}]}`, "the answer's UserPerson is not what bunq documents"},
		{bunq.CreateSessionServer, "OAuth without a time", `{"Response":[` + token + `,{"UserApiKey":{"id":1,"requested_by_user":{"UserPerson":{}}}}]}`, noTime},
	} {
		t.Run(test.operation.Endpoint+"/"+test.name, func(t *testing.T) {
			t.Parallel()
			api := answering(bank().api, test.operation, signed(http.StatusOK, test.body))
			config := newConfig(t, api)
			switch test.operation {
			case bunq.CreateDeviceServer:
				config = restartConfig(t, api, contextWith(t, notRegistered))
			case bunq.CreateSessionServer:
				config = restartConfig(t, api, contextWith(t, notLoggedIn))
			}
			client := newClient(t, config)
			_, err := list(t.Context(), client)
			if test.operation == bunq.CreateSessionServer {
				err = client.Login().Err // the reading is made with the installation
			}
			e := apiError(t, err)
			if e.Operation != test.operation || e.Reason != bunq.ReasonMalformed || e.Err.Error() != test.want {
				t.Errorf("the error is %v, want %s", err, test.want)
			}
		})
	}
}
