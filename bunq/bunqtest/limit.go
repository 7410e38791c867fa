package bunqtest

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"

	"bunq_exporter/bunq"
)

// checkLimit applies bunq's limits for each address and endpoint. All reads of device servers count as one endpoint.
func (s *Server) checkLimit(r *request) *response {
	if s.options.Unlimited {
		return nil
	}
	endpoint, most, span := r.operation.String(), 5, 3*time.Second
	switch {
	case r.Method == http.MethodGet:
		endpoint, most = "GET", 3
	case r.operation == bunq.CreateSessionServer:
		most, span = 1, 30*time.Second
	}
	now, key := time.Now(), r.address+endpoint
	accepted := slices.DeleteFunc(s.accepted[key], func(t time.Time) bool { return now.Sub(t) >= span })
	if len(accepted) < most {
		s.accepted[key] = append(accepted, now)
		return nil
	}
	// During a penalty, the limit is used up by requests that count until its end.
	if penalty := now.Add(s.options.Penalty - span); penalty.After(accepted[0]) {
		accepted = slices.Repeat([]time.Time{penalty}, most)
	}
	s.accepted[key] = accepted
	const format = "Too many requests. You can do a maximum of %d calls per %d second to this endpoint."
	if wait := span - now.Sub(accepted[0]); s.options.RetryAfter {
		r.responseHeader.Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
	}
	return failure(http.StatusTooManyRequests, fmt.Sprintf(format, most, int(span.Seconds())))
}
