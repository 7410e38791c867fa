package bunqtest

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
)

// Hostile is a simulated API in which a share of the requests meets a fault: the session ends early, the rate limit
// is used up by others, or there is no answer or that of a gateway, in half of these cases after the request took
// effect. The order of keys and unknown fields differ from answer to answer. Requests that are passed to its Server
// meet no fault.
type Hostile struct {
	*Server
	Rate float64 // of the faults, 0 to 1
	Seed uint64  // with the same seed and the same order of requests, the faults are the same

	requests atomic.Uint64
}

// ServeHTTP implements [http.Handler].
func (h *Hostile) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	random := rand.New(rand.NewPCG(h.Seed, h.requests.Add(1))) //nolint:gosec // not secret
	switch fault := random.Float64() / h.Rate; {
	case fault < 0.2:
		h.endSession(r.Header.Get("X-Bunq-Client-Authentication"))
	case fault < 0.4:
		if random.IntN(2) == 0 {
			w.Header().Set("Retry-After", strconv.Itoa(random.IntN(90)))
		}
		h.respond(w, r, nil, &apiError{status: http.StatusTooManyRequests, description: "Too many requests."})
		return
	case fault < 1:
		if fault < 0.7 { // the request takes effect
			_, _ = h.perform(w, r)
		}
		fail(w, r, random)
		return
	}
	response, failed := h.perform(w, r)
	h.respond(w, r, json.RawMessage(vary(response, random)), failed)
}

// endSession ends the session of a token.
func (h *Hostile) endSession(token string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if open := h.sessions[token]; open != nil {
		open.expires = now()
	}
}

// fail closes the connection, does not answer, or answers as a gateway does.
func fail(w http.ResponseWriter, r *http.Request, random *rand.Rand) {
	switch status := 500 + random.IntN(5); status {
	case 501:
		panic(http.ErrAbortHandler)
	case 504:
		<-r.Context().Done()
	default:
		http.Error(w, "<html>Try again later.</html>", status)
	}
}

// vary returns the JSON of a value. The keys of objects are in random order, and objects with several fields have an
// unknown one. Arrays keep their order.
func vary(value any, random *rand.Rand) string {
	var items []string
	switch value := value.(type) {
	case object:
		for _, key := range slices.Sorted(maps.Keys(value)) {
			items = append(items, strconv.Quote(key)+":"+vary(value[key], random))
		}
		if len(items) > 1 {
			unknown := []string{"null", `"text"`, "1.5", "{}", "[null]"}[random.IntN(5)]
			items = append(items, fmt.Sprintf(`"unknown_%d":%s`, random.IntN(100), unknown))
		}
		random.Shuffle(len(items), func(i, j int) { items[i], items[j] = items[j], items[i] })
		return "{" + strings.Join(items, ",") + "}"
	case []object:
		for _, item := range value {
			items = append(items, vary(item, random))
		}
		return "[" + strings.Join(items, ",") + "]"
	}
	text, _ := json.Marshal(value) // never fails with strings and numbers
	return string(text)
}
