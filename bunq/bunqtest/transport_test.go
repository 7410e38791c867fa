package bunqtest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"bunq_exporter/bunq/bunqtest"
)

func TestTransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := http.Client{Timeout: time.Second, Transport: bunqtest.Transport(http.HandlerFunc(
			func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/slow" {
					<-r.Context().Done()
				}
				_, _ = w.Write([]byte(r.RemoteAddr))
			},
		))}
		response, err := client.Get("https://api.bunq.com/")
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := io.ReadAll(response.Body); string(got) != home+":1234" {
			t.Errorf("requests come from %s, want %s", got, home)
		}
		start := time.Now()
		_, err = client.Get("https://api.bunq.com/slow")
		if elapsed := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || elapsed != time.Second {
			t.Errorf("error %v after %v, want a timeout after 1s", err, elapsed)
		}
	})
}
