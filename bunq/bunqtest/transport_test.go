package bunqtest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bunq_exporter/bunq/bunqtest"
)

func TestTransportAnswersWithoutANetwork(t *testing.T) {
	transport := bunqtest.Transport(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("From", r.RemoteAddr)
		w.WriteHeader(http.StatusTeapot)
		_, _ = w.Write([]byte("got " + string(body)))
	}))
	client := http.Client{Transport: transport}
	for body, want := range map[string]string{"": "got ", "tea": "got tea"} {
		response, err := client.Post("https://api.bunq.com/v1/installation", "text/plain", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		got, _ := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if string(got) != want || response.StatusCode != http.StatusTeapot || response.Header.Get("From") != home+":1234" {
			t.Errorf("%d %q from %q, want 418 %q from %s", response.StatusCode, got, response.Header.Get("From"), want, home)
		}
	}
	request, err := http.NewRequest(http.MethodGet, "https://api.bunq.com/v1/device-server", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := transport.RoundTrip(request); err != nil {
		t.Errorf("a request without a body: %v", err)
	}
}

func TestTransportEndsWithTheRequestsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(time.Minute) })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://api.bunq.com/v1/device-server", nil)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if _, err := bunqtest.Transport(slow).RoundTrip(request); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want that of the context", err)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("took %s, want 1s", took)
		}
		time.Sleep(time.Minute) // until the handler is done, as the bubble wants
	})
}
