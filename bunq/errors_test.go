package bunq_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"bunq_exporter/bunq"
)

func TestErrorOfStatus(t *testing.T) {
	for want, body := range answers("errors") {
		parts := strings.Split(want, "/")
		status, _ := strconv.Atoi(parts[0])
		client, calls := newClient(t, unsigned(status, "Location", "/v1/device-server/8", body))
		err := read(t.Context(), client)
		e := &bunq.Error{
			Operation: bunq.ReadDeviceServer, Reason: bunq.Reason(parts[1]), StatusCode: status, ResponseID: responseID,
			Description: strings.ReplaceAll(parts[2], "_", " "), RequestID: (*calls)[0].RequestID,
		}
		if diff := cmp.Diff(e, apiError(t, err)); diff != "" || len(*calls) != 1 || (*calls)[0].Err != apiError(t, err) {
			t.Errorf("%d %s: the calls are %+v; error, -want +got:\n%s", status, body, *calls, diff)
		}
		rejected := slices.Contains([]bunq.Reason{bunq.ReasonUnauthorized, bunq.ReasonCredentials}, e.Reason)
		if expectReason(t, err, e.Reason); bunq.Rejected(err) != rejected || bunq.NotSent(err) {
			t.Errorf("%v: rejected %v, not sent %v", err, bunq.Rejected(err), bunq.NotSent(err))
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

func TestClosedSets(t *testing.T) {
	const want = "[POST installation POST device-server POST session-server GET device-server GET device-server/{id}] " +
		"[ACTIVE BLOCKED NEEDS_CONFIRMATION OBSOLETE] " +
		"[timeout network rate_limited unauthorized credentials not_found maintenance server client signature malformed " +
		"redirect] production sandbox"
	got := fmt.Sprint(operations, bunq.Statuses(), bunq.Reasons(), " ", bunq.Production, " ", bunq.Sandbox)
	if got != want {
		t.Errorf("operations, statuses and reasons are %s", got)
	}
	p, s := bunq.Production, bunq.Sandbox
	if !s.Accepts(apiKey) || p.Accepts(apiKey) || s.Accepts(token) || !p.Accepts(token) {
		t.Error("a key is accepted in another environment")
	}
}

// No secret reaches a log, whatever bunq quotes and wherever the bound of the text is.
func TestErrorHidesSecrets(t *testing.T) {
	for _, before := range []int{0, 240, 280, 299} {
		quoted := strings.Repeat("x", before) + token + " " + apiKey
		for _, api := range []http.Handler{
			unsigned(http.StatusBadRequest, "X-Bunq-Warning", quoted, `{"Error":[{"error_description":"`+quoted+`"}]}`),
			signed(http.StatusOK, `{"Response":"`+quoted+`"}`),
			signed(http.StatusOK, `{"Response":[{"Token":{"token":["`+quoted+`"]}},{"DeviceServer":{"id":"`+quoted+`"}}]}`),
			signed(http.StatusOK, quoted),
		} {
			for _, operation := range operations[1:] {
				client, calls := newClient(t, api)
				err := makers[operation](t.Context(), client)
				text := fmt.Sprint(err, bunq.Summary(err), (*calls)[0].Err, (*calls)[0].Warning)
				if strings.Contains(text, token[:20]) || operation.Method == "POST" && strings.Contains(text, apiKey[:12]) {
					t.Errorf("%s: %s", operation, text)
				}
			}
		}
	}
}

func TestNetwork(t *testing.T) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	defer transport.CloseIdleConnections()
	plain := (*httptest.Server).Start
	older := func(s *httptest.Server) {
		s.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
		s.StartTLS()
	}
	for name, test := range map[string]struct {
		start   func(*httptest.Server)
		answer  http.HandlerFunc
		want    string // in the error
		notSent bool
	}{
		"TLS 1.1":             {older, nil, "protocol version", false},
		"unknown certificate": {(*httptest.Server).StartTLS, nil, "certificate", false},
		"no listener":         {func(s *httptest.Server) { s.Start(); s.Close() }, nil, "connection refused", true},
		"closed": {plain, func(http.ResponseWriter, *http.Request) {
			panic(http.ErrAbortHandler)
		}, "network: EOF", false},
		"header that net/http quotes": {plain, func(w http.ResponseWriter, r *http.Request) {
			connection, _, _ := http.NewResponseController(w).Hijack()
			_, _ = fmt.Fprintf(connection, "HTTP/1.1 200 OK\r\nI saw %s\r\n\r\n", r.Header["X-Bunq-Client-Authentication"])
			_ = connection.Close()
		}, "I saw [[redacted]]", false},
		"cut off": {plain, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, `{"Response":[`)
		}, "network, HTTP status 200: unexpected EOF", false},
	} {
		server := httptest.NewUnstartedServer(test.answer)
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		test.start(server)
		client, _ := connect(t, bunq.Config{BaseURL: server.URL + "/v1", Transport: transport})
		err := read(t.Context(), client)
		server.Close()
		expectReason(t, err, bunq.ReasonNetwork)
		if !strings.Contains(err.Error(), test.want) || bunq.NotSent(err) != test.notSent {
			t.Errorf("%s: the error is %v (not sent: %v), want %q", name, err, bunq.NotSent(err), test.want)
		}
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
