package bunqtest_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"bunq_exporter/bunq/bunqtest"
)

var firstKey = regexp.MustCompile(`"DeviceServer":\{"([a-z]+)`)

// meetFaults registers and lists device servers by turns, and returns the answers by their kind.
func meetFaults(t *testing.T, seed uint64) map[string]string {
	answers := map[string]string{}
	simulate(t, bunqtest.Options{Unlimited: true}, func(t *testing.T, api *bunqtest.Server) {
		transport := bunqtest.Transport(&bunqtest.Hostile{Server: api, Rate: 0.5, Seed: seed})
		c := newRawClient(t, api).install().register("*").login()
		for i := range 200 {
			method, token, body := http.MethodGet, c.session, ""
			if i%2 == 0 {
				method, token = http.MethodPost, c.installation
				body = `{"description":"made","secret":"` + apiKey + `","permitted_ips":["*"]}`
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			r, _ := http.NewRequestWithContext(ctx, method, "/v1/device-server", strings.NewReader(body))
			r.Header = http.Header{"User-Agent": {"raw/1"}, "X-Bunq-Client-Authentication": {token}}
			response, err := transport.RoundTrip(r)
			if err != nil {
				answers[err.Error()] += method
				continue
			}
			text, _ := io.ReadAll(response.Body)
			answers[fmt.Sprint(response.StatusCode, response.Header["Retry-After"] != nil)] += string(text)
			if response.StatusCode == http.StatusUnauthorized {
				c.login()
			}
		}
		made, answered := len(api.DeviceServers())-1, strings.Count(answers["200 false"], `[{"Id"`)
		if answered >= made || made >= 90 {
			t.Errorf("%d of 100 registrations took effect, and %d were answered", made, answered)
		}
	})
	return answers
}

func TestHostile(t *testing.T) {
	first := meetFaults(t, 1)
	kinds := []string{
		"200 false", "401 false", "429 false", "429 true", "500 false", "502 false", "503 false",
		context.DeadlineExceeded.Error(), io.ErrUnexpectedEOF.Error(),
	}
	if got := slices.Sorted(maps.Keys(first)); !slices.Equal(got, kinds) {
		t.Errorf("answers are %q, want %q", got, kinds)
	}
	keys := map[string]bool{}
	for _, match := range firstKey.FindAllStringSubmatch(first["200 false"], -1) {
		keys[match[1]] = true
	}
	if len(keys) != 8 {
		t.Errorf("objects begin with %v, want each of the 7 keys and unknown ones", keys)
	}
	if !maps.Equal(first, meetFaults(t, 1)) || maps.Equal(first, meetFaults(t, 2)) {
		t.Error("a seed does not determine the faults")
	}
}
