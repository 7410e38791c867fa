package bunq

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Reason is the class of a failed API call.
type Reason string

// The reasons, a closed set.
const (
	ReasonTimeout      Reason = "timeout"      // no complete answer in the caller's time
	ReasonNetwork      Reason = "network"      // no connection, or one that broke
	ReasonRateLimited  Reason = "rate_limited" // 429, or a call whose turn within bunq's limits did not come in time
	ReasonUnauthorized Reason = "unauthorized" // 401, 403: bunq does not take the token
	ReasonCredentials  Reason = "credentials"  // bunq's catch-all 400: wrong API key, address or environment, or a blocked device server
	ReasonNotFound     Reason = "not_found"    // 404
	ReasonMaintenance  Reason = "maintenance"  // 491, 503
	ReasonServer       Reason = "server"       // any other 5xx
	ReasonClient       Reason = "client"       // any other 4xx
	ReasonSignature    Reason = "signature"    // an answer's signature does not hold, or bunq says that ours does not
	ReasonMalformed    Reason = "malformed"    // an answer that is not what bunq documents
	ReasonRedirect     Reason = "redirect"     // 3xx, never followed: the token must not travel
)

// Reasons returns every reason, so that a counter for each can exist before its first error.
func Reasons() []Reason {
	return []Reason{
		ReasonTimeout, ReasonNetwork, ReasonRateLimited, ReasonUnauthorized, ReasonCredentials, ReasonNotFound,
		ReasonMaintenance, ReasonServer, ReasonClient, ReasonSignature, ReasonMalformed, ReasonRedirect,
	}
}

// Error is a failed API call. Its text holds no API key and no token.
type Error struct {
	Operation
	Reason      Reason
	StatusCode  int           // of HTTP; 0 without an answer
	Description string        // bunq's own error_description, in English; may be empty
	RequestID   string        // the UUID that was sent
	ResponseID  string        // the UUID that bunq's support asks for; may be empty
	RetryAfter  time.Duration // how long bunq wants to be left alone; 0 if it did not say
	Err         error         // the cause on this side; may be nil
}

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", e.Operation, e.Reason)
	if e.StatusCode != 0 {
		fmt.Fprintf(&b, ", HTTP status %d", e.StatusCode)
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	if e.Description != "" {
		fmt.Fprintf(&b, ": bunq says %q", e.Description)
	}
	if e.ResponseID != "" {
		fmt.Fprintf(&b, " (response id %s)", e.ResponseID)
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// ReasonOf returns the reason of an API error anywhere in err's tree, or "" if there is none.
func ReasonOf(err error) Reason {
	var e *Error
	if errors.As(err, &e) {
		return e.Reason
	}
	return ""
}

// unsent reports whether a call never left, since there was no connection.
func unsent(err error) bool {
	var broken *net.OpError
	return errors.As(err, &broken) && (broken.Op == "dial" || broken.Op == "proxyconnect")
}

// TurnedAway reports whether a call was not made because its turn within bunq's limits would have come too late.
func TurnedAway(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Reason == ReasonRateLimited && e.StatusCode == 0
}

// transportError classifies what net/http returns in place of an answer.
func transportError(err error) *Error {
	var timeout net.Error
	if errors.Is(err, context.Canceled) || errors.As(err, &timeout) && timeout.Timeout() {
		return &Error{Reason: ReasonTimeout, Err: err}
	}
	return &Error{Reason: ReasonNetwork, Err: err}
}

// statusError is the error that an answer outside 2xx stands for.
func statusError(resp *http.Response, body []byte) *Error {
	description := errorDescription(body)
	return &Error{
		Reason:      statusReason(resp.StatusCode, strings.ToLower(description)),
		Description: description,
		RetryAfter:  retryAfter(resp.Header.Get("Retry-After"), time.Now()),
	}
}

// statusReason maps a status code and bunq's words, in lower case, to a reason.
func statusReason(code int, words string) Reason {
	switch {
	case strings.Contains(words, "user credentials are incorrect"):
		return ReasonCredentials
	case code == 466, strings.Contains(words, "request signature is"):
		return ReasonSignature
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return ReasonUnauthorized
	case code == http.StatusNotFound:
		return ReasonNotFound
	case code == http.StatusTooManyRequests:
		return ReasonRateLimited
	case code == 491, code == http.StatusServiceUnavailable:
		return ReasonMaintenance
	case code >= 500:
		return ReasonServer
	case code >= 400:
		return ReasonClient
	case code >= 300:
		return ReasonRedirect
	}
	return ReasonMalformed // 1xx: net/http hands none of them on
}

// maxWords bounds, in bytes, what is kept of bunq's words: they end in logs.
const maxWords = 500

// cut bounds bunq's words. It comes after redact, which would not know half a secret.
func cut(words string) string {
	return strings.ToValidUTF8(words[:min(len(words), maxWords)], "")
}

// errorDescription returns the first error_description of an error body, or "" where there is none: bunq sends empty
// arrays, and HTML in maintenance.
func errorDescription(body []byte) string {
	var envelope struct {
		Error []struct {
			Description string `json:"error_description"`
		}
	}
	if json.Unmarshal(body, &envelope) != nil {
		return ""
	}
	for _, e := range envelope.Error {
		if e.Description != "" {
			return e.Description
		}
	}
	return ""
}

// retryAfter reads a Retry-After header: seconds or a date (RFC 9110, 10.2.3). What is neither counts as nothing.
func retryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if date, err := http.ParseTime(value); err == nil && date.After(now) {
		return date.Sub(now)
	}
	return 0
}
