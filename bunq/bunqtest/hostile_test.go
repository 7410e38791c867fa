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
	"testing/synctest"
	"time"

	"bunq_exporter/bunq/bunqtest"
)

var firstKey = regexp.MustCompile(`"DeviceServer":\{"([a-z]+)`)

// meetFaults registers and lists device servers by turns. It counts the answers by their kind.
func meetFaults(t *testing.T, seed uint64) (answers map[string]int, bodies string) {
	answers = map[string]int{}
	handshake := readExchanges(t).Requests
	synctest.Test(t, func(t *testing.T) {
		c := newRawClient(bunqtest.Options{Unlimited: true})
		transport := bunqtest.Transport(&bunqtest.Hostile{Server: c.Server, Rate: 0.5, Seed: seed})
		for _, e := range handshake[:3] {
			c.do(t, e)
		}
		for i := range 200 {
			e := exchange{Do: "GET /v1/device-server"}
			if i%2 == 0 {
				e = handshake[1]
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			r, _ := c.request(e)
			response, err := transport.RoundTrip(r.WithContext(ctx))
			if err != nil {
				answers[err.Error()]++
				continue
			}
			text, _ := io.ReadAll(response.Body)
			answers[fmt.Sprint(response.StatusCode, response.Header["Retry-After"] != nil)]++
			bodies += string(text)
			if response.StatusCode == http.StatusUnauthorized {
				c.do(t, handshake[2])
			}
		}
		made, answered := len(c.DeviceServers())-1, strings.Count(bodies, `[{"Id"`)
		if answered >= made || made >= 90 {
			t.Errorf("%d of 100 registrations took effect, and %d were answered", made, answered)
		}
	})
	return answers, bodies
}

func TestHostile(t *testing.T) {
	first, bodies := meetFaults(t, 1)
	kinds := []string{
		"200 false", "401 false", "429 false", "429 true", "500 false", "502 false", "503 false",
		context.DeadlineExceeded.Error(), io.ErrUnexpectedEOF.Error(),
	}
	if got := slices.Sorted(maps.Keys(first)); !slices.Equal(got, kinds) {
		t.Errorf("answers are %q, want %q", got, kinds)
	}
	keys := map[string]bool{}
	for _, match := range firstKey.FindAllStringSubmatch(bodies, -1) {
		keys[match[1]] = true
	}
	if len(keys) != 7 {
		t.Errorf("objects begin with %v, want each of the 7 keys", keys)
	}
	again, _ := meetFaults(t, 1)
	if other, _ := meetFaults(t, 2); !maps.Equal(first, again) || maps.Equal(first, other) {
		t.Error("a seed does not determine the faults")
	}
}
