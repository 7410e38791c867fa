package bunq_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bunq_exporter/bunq"
)

func TestErrorOfStatus(t *testing.T) {
	for want, body := range answers("errors") {
		status, _, _ := strings.Cut(want, "/")
		code, _ := strconv.Atoi(status)
		client, _ := newClient(t, unsigned(code, "Location", "/v1/device-server/8", body))
		e := apiError(t, read(t.Context(), client))
		got := strings.ReplaceAll(fmt.Sprintf("%d/%s/%s", e.StatusCode, e.Reason, e.Description), " ", "_")
		if got != want || e.ResponseID != responseID {
			t.Errorf("the error is %+v, want %s", e, want)
		}
	}
}

func TestErrorHeaders(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"": 0, "-1": 0, "soon": 0, "1.5": 0, "30": 30 * time.Second, "301": 5 * time.Minute, "9999999999": 5 * time.Minute,
	} {
		client, _ := newClient(t, unsigned(http.StatusServiceUnavailable, "Retry-After", value, ""))
		if got := apiError(t, read(t.Context(), client)).RetryAfter; got != want {
			t.Errorf("Retry-After: %s is %s, want %s", value, got, want)
		}
	}
	for _, id := range []string{"x" + responseID, token[:36]} {
		client, calls := newClient(t, unsigned(http.StatusNotFound, "X-Bunq-Client-Response-Id", id, ""))
		if got := apiError(t, read(t.Context(), client)).ResponseID; got != "" || (*calls)[0].ResponseID != "" {
			t.Errorf("the response id is %q", got)
		}
	}
}

func TestErrorText(t *testing.T) {
	e := &bunq.Error{
		Operation: bunq.ReadDeviceServer, Reason: bunq.ReasonNotFound, StatusCode: 404, Description: `Not "it".`,
		ResponseID: responseID, Err: io.EOF,
	}
	const want = `GET device-server/{id}: not_found, HTTP status 404: EOF: "Not \"it\"." (response id ` + responseID + `)`
	err := fmt.Errorf("reading: %w", e)
	if e.Error() != want || bunq.Summary(err) != bunq.Summary(&bunq.Error{Operation: e.Operation, Reason: e.Reason,
		StatusCode: e.StatusCode, Description: e.Description}) {
		t.Errorf("the text is %s, want %s; the summary is %s", e, want, bunq.Summary(err))
	}
	if text := (&bunq.Error{Operation: e.Operation, Reason: e.Reason}).Error(); text != "GET device-server/{id}: not_found" {
		t.Errorf("the text is %s", text)
	}
	if !errors.Is(err, bunq.ReasonNotFound) || errors.Is(err, bunq.ReasonServer) || !errors.Is(err, io.EOF) {
		t.Errorf("%v is of another reason or cause", err)
	}
	if bunq.ReasonOf(io.EOF) != "" || bunq.Summary(nil) != "" || bunq.Summary(io.EOF) != "EOF" || bunq.NotSent(io.EOF) {
		t.Error("io.EOF is an error of the API")
	}
}

// No secret reaches a log, wherever the bound of the text is.
func TestErrorHidesSecrets(t *testing.T) {
	for _, before := range []int{0, 240, 280, 299} {
		quoted := strings.Repeat(".", before) + token + " " + apiKey
		body := `{"Error":[{"error_description":"` + quoted + `"}]}`
		client, calls := newClient(t, unsigned(http.StatusBadRequest, "X-Bunq-Warning", quoted, body))
		text := fmt.Sprint(makers[bunq.CreateSessionServer](t.Context(), client), (*calls)[0].Warning)
		if strings.Contains(text, token[:20]) || strings.Contains(text, apiKey[:12]) {
			t.Error(text)
		}
	}
}

// net/http quotes what it cannot read.
func TestErrorHidesQuotedToken(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		connection, _, _ := http.NewResponseController(w).Hijack()
		_, _ = fmt.Fprintf(connection, "HTTP/1.1 200 OK\r\nI saw %s\r\n\r\n", r.Header["X-Bunq-Client-Authentication"])
		_ = connection.Close()
	}))
	defer server.Close()
	client, _ := connect(t, bunq.Config{BaseURL: server.URL})
	if err := read(t.Context(), client); !strings.Contains(err.Error(), "I saw [[redacted]]") {
		t.Errorf("the error is %v", err)
	}
}

// endless returns a transport whose answers begin with a status, if it is not 0, and do not end.
func endless(status int) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		if status == 0 {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}
		body, writer := io.Pipe()
		context.AfterFunc(r.Context(), func() { _ = writer.CloseWithError(r.Context().Err()) })
		return &http.Response{StatusCode: status, Header: http.Header{}, Body: body, Request: r}, nil
	})
}

func TestTimeouts(t *testing.T) {
	for name, test := range map[string]struct {
		status    int // of an answer without an end
		operation bunq.Operation
		timeout   time.Duration // of the caller; 0 cancels after 4 s
		want      time.Duration
		reason    bunq.Reason
	}{
		"read":                {0, bunq.ListDeviceServers, time.Hour, 10 * time.Second, bunq.ReasonTimeout},
		"POST":                {0, bunq.CreateSessionServer, time.Hour, 30 * time.Second, bunq.ReasonTimeout},
		"deadline":            {0, bunq.ReadDeviceServer, 5 * time.Second, 5 * time.Second, bunq.ReasonTimeout},
		"canceled":            {0, bunq.ReadDeviceServer, 0, 4 * time.Second, bunq.ReasonTimeout},
		"body":                {http.StatusOK, bunq.ReadDeviceServer, time.Hour, 10 * time.Second, bunq.ReasonTimeout},
		"body of an error":    {http.StatusTeapot, bunq.ReadDeviceServer, time.Hour, 10 * time.Second, bunq.ReasonClient},
		"switching protocols": {http.StatusSwitchingProtocols, bunq.ReadDeviceServer, time.Hour, 0, bunq.ReasonMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, calls := connect(t, bunq.Config{Transport: endless(test.status)})
				ctx, cancel := context.WithTimeout(t.Context(), test.timeout)
				if test.timeout == 0 {
					ctx, cancel = context.WithCancel(t.Context())
					time.AfterFunc(4*time.Second, cancel)
				}
				defer cancel()
				err := makers[test.operation](ctx, client)
				if expectReason(t, err, test.reason); (*calls)[0].Duration != test.want || bunq.NotSent(err) {
					t.Errorf("it took %s, want %s: %v", (*calls)[0].Duration, test.want, err)
				}
			})
		})
	}
}
