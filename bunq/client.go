package bunq

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// Config configures a [Client].
type Config struct {
	BaseURL   string            // of the API, version included
	UserAgent string            // name/version of the calling program; bunq rejects requests without one
	Transport http.RoundTripper // nil: a [NewTransport] of its own
	Limiter   *Limiter          // shared by all clients that call from the same address; nil: one of its own
	Observe   func(Call)        // called after each API call, from several goroutines; may be nil
}

// Client makes calls to the bunq API. It is safe for concurrent use.
type Client struct {
	config Config
	served map[*window]time.Time // when this client last got a slot; guarded by the limiter
}

// Credentials authenticate a call.
type Credentials struct {
	Token      string          // of an installation or a session
	PrivateKey *rsa.PrivateKey // signs the request; nil: it is not signed
	ServerKey  *rsa.PublicKey  // verifies the answer
}

// NewClient returns a client. It sends nothing; the calls of one with an invalid base URL fail.
func NewClient(config Config) *Client {
	config.BaseURL = strings.TrimSuffix(config.BaseURL, "/")
	config.Transport = cmp.Or(config.Transport, NewTransport())
	config.Limiter = cmp.Or(config.Limiter, NewLimiter(MaxReads))
	return &Client{config: config, served: map[*window]time.Time{}}
}

// timeouts are the time limits of one call, without its wait for the rate limit. A POST gets more time: it leaves a
// device server or a session at bunq even if nobody waits for the answer.
var timeouts = map[string]time.Duration{http.MethodGet: 10 * time.Second, http.MethodPost: 30 * time.Second}

// maxBody bounds an answer, in bytes: ten times the size of 200 device servers with long descriptions.
const maxBody = 4 << 20

// request is an API call to make.
type request struct {
	Operation
	path        string // below the base URL, query included
	credentials Credentials
	body        []byte // JSON; nil: none
	secret      string // in the body; "": none
	decode      func(body []byte) error
}

// do makes one API call: it waits for the rate limit, sends the request, checks the answer, decodes it and reports the
// call to the observer. Its errors are of type *Error.
func (c *Client) do(ctx context.Context, r request) error {
	call := &Call{Operation: r.Operation}
	req, err := c.newRequest(ctx, r)
	if err == nil {
		err = c.send(req, r, call)
	}
	if err != nil {
		call.Err = r.failure(call, err)
		err = call.Err
		if t, ok := c.config.Transport.(interface{ CloseIdleConnections() }); ok && call.Err.Reason == ReasonTimeout {
			t.CloseIdleConnections() // the one of this call may not answer again
		}
	}
	call.Warning = r.clean(call.Warning)
	if c.config.Observe != nil {
		c.config.Observe(*call)
	}
	return err
}

// failure returns the error of a call with all that is known of it.
func (r *request) failure(call *Call, err error) *Error {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		e = &Error{Reason: ReasonMalformed, Err: err}
	}
	e.Operation, e.StatusCode, e.RequestID, e.ResponseID = r.Operation, call.StatusCode, call.RequestID, call.ResponseID
	e.Description = r.clean(e.Description)
	if e.Err != nil && r.clean(e.Err.Error()) != e.Err.Error() { // net/http quotes what it cannot read
		e.Err = errors.New(r.clean(e.Err.Error()))
	}
	return e
}

// token matches what may be a token or an API key of bunq.
var token = regexp.MustCompile(`[0-9A-Za-z_]{32,}`)

// clean makes text from outside safe to show. It removes secrets, in case bunq or net/http quotes one.
func (r *request) clean(text string) string {
	for _, secret := range []string{r.credentials.Token, r.secret} {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "[redacted]")
		}
	}
	return printable(token.ReplaceAllString(text, "[redacted]"))
}

// send makes the HTTP request when the rate limit allows it, and decodes a valid answer.
func (c *Client) send(req *http.Request, r request, call *Call) error {
	release, err := c.config.Limiter.acquire(req, c, call) //nolint:bodyclose // it is closed below
	if err != nil {
		return err
	}
	start := time.Now()
	defer func() { call.Duration = time.Since(start) }()
	ctx, cancel := context.WithTimeout(req.Context(), timeouts[r.Method])
	defer cancel()
	call.RequestID = req.Header.Get(headerRequestID)
	// Not by an http.Client: it would follow redirects, which could carry the token to another host.
	resp, err := c.config.Transport.RoundTrip(req.WithContext(ctx))
	release(resp, err)
	if err != nil {
		return transportError(err)
	}
	defer func() { _ = resp.Body.Close() }()
	call.StatusCode = resp.StatusCode
	if id := resp.Header.Get("X-Bunq-Client-Response-Id"); uuid.Validate(id) == nil { // it ends up in logs and exemplars
		call.ResponseID = id
	}
	call.Warning = resp.Header.Get("X-Bunq-Warning")
	if resp.StatusCode < 200 { // 101 has a body without end
		return statusError(resp, nil)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	echo := resp.Header.Get(headerRequestID)
	switch {
	case resp.StatusCode > 299:
		return statusError(resp, body)
	case err != nil:
		return transportError(err)
	case len(body) > maxBody:
		return fmt.Errorf("answer is larger than %d bytes", maxBody)
	case echo != "" && !strings.EqualFold(echo, call.RequestID):
		return errors.New("answer belongs to another request")
	case r.credentials.ServerKey != nil:
		err = verify(r.credentials.ServerKey, resp.StatusCode, resp.Header, body)
	}
	if err != nil {
		return err
	}
	return r.decode(body)
}

// newRequest sets the request headers of bunq's documentation, and the signature of a body.
func (c *Client) newRequest(ctx context.Context, r request) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, r.Method, c.config.BaseURL+"/"+r.path, bytes.NewReader(r.body))
	if err != nil { // of the base URL
		return nil, &Error{Reason: ReasonClient, Err: err}
	}
	req.Header.Set("Cache-Control", "no-cache")
	req.Header.Set("User-Agent", c.config.UserAgent)
	req.Header.Set(headerRequestID, uuid.NewString())
	req.Header.Set("X-Bunq-Geolocation", "0 0 0 0 000") // unknown
	req.Header.Set("X-Bunq-Language", "en_US")          // so that error descriptions can be matched
	req.Header.Set("X-Bunq-Region", "nl_NL")
	if r.credentials.Token != "" {
		req.Header.Set("X-Bunq-Client-Authentication", r.credentials.Token)
	}
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.body != nil && r.credentials.PrivateKey != nil {
		req.Header.Set("X-Bunq-Client-Signature", sign(r.credentials.PrivateKey, r.body))
	}
	return req, nil
}

// transport is that of net/http, with connections that can be replaced while requests are in flight.
type transport struct {
	current atomic.Pointer[http.Transport]
}

// NewTransport returns a transport that clients may share. It sends each request once, and after a timeout it uses new
// connections: one may be alive and never answer again.
func NewTransport() http.RoundTripper {
	t := &transport{}
	t.current.Store(newConnections())
	return t
}

// RoundTrip implements [http.RoundTripper]. On a connection that breaks, net/http would repeat a GET, with the same
// request id and without regard to the rate limit.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(r.Context()) // which ends the body of the answer, too
	var sent atomic.Bool
	return t.current.Load().RoundTrip(r.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteHeaders: func() { sent.Store(true) },
		GetConn: func(string) {
			if sent.Load() {
				cancel(errors.New("the connection broke before the answer"))
			}
		},
	})))
}

// CloseIdleConnections makes the next requests use new connections. The client calls it after a timeout.
func (t *transport) CloseIdleConnections() { t.current.Swap(newConnections()).CloseIdleConnections() }

// newConnections keeps enough idle connections for many accounts at one host, but none so long that a gateway may be
// about to close it. HTTP/2 connections are pinged: one that dies silently would otherwise be used until a timeout.
func newConnections() *http.Transport {
	connections := http.DefaultTransport.(*http.Transport).Clone()
	connections.MaxIdleConnsPerHost = connections.MaxIdleConns
	connections.IdleConnTimeout = 30 * time.Second
	connections.HTTP2 = &http.HTTP2Config{SendPingTimeout: 5 * time.Second, PingTimeout: 5 * time.Second}
	return connections
}
