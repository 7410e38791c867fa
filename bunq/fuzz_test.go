package bunq_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
)

// FuzzAnswer has bunq answer anything, correctly signed: no reading may panic, go on for ever or fail in another way
// than with an *Error.
func FuzzAnswer(f *testing.F) {
	for _, body := range []string{
		"", "null", "[]", "{}", "<html>", `{"Response":null}`, `{"Response":[]}`, `{"Response":[{}]}`, `{"Response":[null]}`,
		`{"Response":[` + item(7) + `]}`, `{"Response":[` + item(8) + `,` + item(7) + `]}`,
		`{"Response":[` + item(7) + `],"Pagination":{"older_url":"/v1/device-server?older_id=6"}}`,
		`{"Response":[` + item(7) + `],"Pagination":{"older_url":"%"}}`,
		`{"Response":[{"DeviceServer":{"id":7,"created":"2015-02-31 25:61:61","status":"ACTIVE"}}]}`,
		`{"Error":[{"error_description":"Insufficient authorisation."}]}`, `{"Error":[null]}`, `{"Error":[{"error_description":null}]}`,
		strings.Repeat("[", 20_000), "\xff\xfe\x00", `{"Response":[{"DeviceServer":{"id":1e400,"status":"\ud800"}}]}`,
	} {
		for _, status := range []uint16{200, 204, 302, 400, 401, 404, 429, 466, 491, 503} {
			f.Add(status-200, []byte(body))
		}
	}
	var status int
	var body []byte
	path := filepath.Join(f.TempDir(), "bunq.conf")
	if err := os.WriteFile(path, []byte(contextWith(f, installationOnly)), 0o600); err != nil {
		f.Fatal(err)
	}
	config := bunq.Config{
		Environment: bunq.Sandbox, ContextFile: path, UserAgent: "bunq_exporter/test",
		Transport: bunqtest.Transport(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			bank().api.Answer(w, r, status, body)
		})),
	}
	f.Fuzz(func(t *testing.T, anyStatus uint16, anyBody []byte) {
		status, body = 200+int(anyStatus)%400, anyBody // net/http hands on no other status
		client := newClient(t, config)                 // or bunq's limit would slow it down
		one, err := client.DeviceServer(t.Context(), 7)
		if err == nil && one.ID != 7 {
			t.Errorf("the device server is %+v, want 7", one)
		}
		usable(t, err)
		ctx, cancel := contextFor(t, time.Second)
		defer cancel()
		_, err = list(ctx, client)
		usable(t, err)
	})
}

func usable(t *testing.T, err error) {
	t.Helper()
	var e *bunq.Error
	if err != nil && (!errors.As(err, &e) || e.Reason == "" || len(e.Description) > 500 || e.Error() == "") {
		t.Errorf("the error is %#v, want an *Error with a reason", err)
	}
}
