package bunq

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Reason is the class of a failed API call. It is an error itself, so that errors.Is(err, bunq.ReasonTimeout) works.
type Reason string

// The reasons, a closed set.
const (
	ReasonTimeout      Reason = "timeout"      // no complete answer in time
	ReasonNetwork      Reason = "network"      // no connection, or one that broke
	ReasonRateLimited  Reason = "rate_limited" // 429, or not sent because the rate limit left no time for it
	ReasonUnauthorized Reason = "unauthorized" // 401, 403: bunq rejects the token
	ReasonCredentials  Reason = "credentials"  // the catch-all 400: API key, address or device server
	ReasonNotFound     Reason = "not_found"    // 404
	ReasonMaintenance  Reason = "maintenance"  // 491, 503
	ReasonServer       Reason = "server"       // any other 5xx
	ReasonClient       Reason = "client"       // any other 4xx
	ReasonSignature    Reason = "signature"    // of the answer is invalid, or bunq rejects that of the request
	ReasonMalformed    Reason = "malformed"    // an answer that is not what bunq documents
	ReasonRedirect     Reason = "redirect"     // 3xx, never followed: it could carry the token to another host
)

// Reasons are all reasons.
var Reasons = []Reason{
	ReasonTimeout, ReasonNetwork, ReasonRateLimited, ReasonUnauthorized, ReasonCredentials, ReasonNotFound,
	ReasonMaintenance, ReasonServer, ReasonClient, ReasonSignature, ReasonMalformed, ReasonRedirect,
}

func (r Reason) Error() string { return string(r) }

// Error is a failed API call. Its text holds no API key and no token.
type Error struct {
	Operation
	Reason      Reason
	StatusCode  int           // of HTTP; 0 without an answer
	Description string        // bunq's error_description, in English; may be empty
	RequestID   string        // the UUID that was sent; empty if nothing was sent
	ResponseID  string        // the UUID that bunq's support asks for; may be empty
	RetryAfter  time.Duration // how long to wait before the next call; 0 if unknown
	Err         error         // the cause on this side; may be nil
}

func (e *Error) Error() string {
	text := fmt.Sprintf("%s: %s", e.Operation, e.Reason)
	if e.StatusCode != 0 {
		text += fmt.Sprintf(", HTTP status %d", e.StatusCode)
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	if e.Description != "" {
		text += fmt.Sprintf(": %q", e.Description)
	}
	if e.ResponseID != "" {
		text += fmt.Sprintf(" (response id %s)", e.ResponseID)
	}
	return text
}

// Unwrap returns the reason and the cause on this side.
func (e *Error) Unwrap() []error { return []error{e.Reason, e.Err} }

// ReasonOf returns the reason of an API error anywhere in err's tree, or "" if there is none.
func ReasonOf(err error) Reason {
	reason, _ := errors.AsType[Reason](err)
	return reason
}

// NotSent reports whether err is a call that certainly did not reach bunq.
func NotSent(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && (e.RequestID == "" || notConnected(e.Err))
}

func notConnected(err error) bool {
	broken, ok := errors.AsType[*net.OpError](err)
	return ok && (broken.Op == "dial" || broken.Op == "proxyconnect")
}

// transportError classifies what net/http returns in place of an answer.
func transportError(err error) error {
	timeout, ok := errors.AsType[net.Error](err)
	if errors.Is(err, context.Canceled) || ok && timeout.Timeout() {
		return &Error{Reason: ReasonTimeout, Err: err}
	}
	return &Error{Reason: ReasonNetwork, Err: err}
}

// reasons maps status codes, and classes of status codes, to reasons.
var reasons = map[int]Reason{
	http.StatusUnauthorized:       ReasonUnauthorized,
	http.StatusForbidden:          ReasonUnauthorized,
	http.StatusNotFound:           ReasonNotFound,
	http.StatusTooManyRequests:    ReasonRateLimited,
	466:                           ReasonSignature,
	491:                           ReasonMaintenance,
	http.StatusServiceUnavailable: ReasonMaintenance,
	3:                             ReasonRedirect,
	4:                             ReasonClient,
	5:                             ReasonServer,
}

// statusError returns the error that an answer outside 2xx stands for. Its body may be an empty array or HTML.
func statusError(resp *http.Response, body []byte) error {
	var envelope struct {
		Error [1]struct {
			Description string `json:"error_description"`
		}
	}
	_ = json.Unmarshal(body, &envelope)
	description := envelope.Error[0].Description
	reason := cmp.Or(reasons[resp.StatusCode], reasons[resp.StatusCode/100], ReasonMalformed) // 1xx is not an answer
	switch lower := strings.ToLower(description); {
	case strings.Contains(lower, "user credentials are incorrect"):
		reason = ReasonCredentials
	case strings.Contains(lower, "request signature is"):
		reason = ReasonSignature
	}
	return &Error{Reason: reason, Description: description, RetryAfter: retryAfter(resp.Header)}
}

// maxRetryAfter bounds a Retry-After: an error of a gateway must not stop all accounts for hours.
const maxRetryAfter = 5 * time.Minute

// retryAfter reads a Retry-After header in seconds, up to maxRetryAfter. bunq does not document the header.
func retryAfter(header http.Header) time.Duration {
	seconds, _ := strconv.ParseUint(header.Get("Retry-After"), 10, 31)
	return min(time.Duration(seconds)*time.Second, maxRetryAfter)
}

// Rejected reports whether bunq rejected the credentials of a read: with 401, 403 or the catch-all 400.
func Rejected(err error) bool {
	return errors.Is(err, ReasonUnauthorized) || errors.Is(err, ReasonCredentials)
}

// Summary returns the text of an error without what differs from call to call.
func Summary(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return fmt.Sprint(e.Operation, e.Reason, e.StatusCode, e.Description)
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// maxText bounds text from bunq, in bytes: it ends up in logs, labels and pages.
const maxText = 300

// printable returns text from outside without anything that a terminal, a log or a page would interpret, and bounded.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) { // nor valid
			return '\uFFFD'
		}
		return r
	}, text[:min(len(text), maxText)])
}
