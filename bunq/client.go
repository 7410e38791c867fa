package bunq

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Config configures a [Client].
type Config struct {
	BaseURL   string            // of the API, version included
	UserAgent string            // name/version of the calling program; bunq rejects requests without one
	Transport http.RoundTripper // nil: a new one of NewTransport
	Limiter   *Limiter          // shared by all clients that call from the same address; nil: one of its own
	Observe   func(Call)        // called after each API call, from several goroutines; may be nil
}

// Client makes calls to the bunq API. It is safe for concurrent use.
type Client struct {
	config Config
	host   string
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
	if config.Transport == nil {
		config.Transport = NewTransport()
	}
	config.Limiter = cmp.Or(config.Limiter, NewLimiter(MaxReads))
	c := &Client{config: config, served: map[*window]time.Time{}}
	if base, err := url.Parse(config.BaseURL); err == nil {
		c.host = strings.TrimSuffix(strings.ToLower(base.Host), ":443")
	}
	return c
}

// NewTransport returns the transport of net/http, environment proxies included, with enough idle connections for many
// accounts at one host. It pings HTTP/2 connections: one that dies silently would otherwise be used for minutes.
func NewTransport() *http.Transport {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = transport.MaxIdleConns
	transport.HTTP2 = &http.HTTP2Config{SendPingTimeout: 5 * time.Second, PingTimeout: 5 * time.Second}
	return transport
}

// The time limits of one call, without its wait for the rate limit. A POST gets more time: it leaves a device server
// or a session at bunq even if nobody waits for the answer.
const (
	readTimeout  = 10 * time.Second
	writeTimeout = 30 * time.Second
)

// maxBody bounds an answer, in bytes: ten times the size of 200 device servers with long descriptions.
const maxBody = 4 << 20

// request is an API call to make.
type request struct {
	Operation
	path        string // below the base URL, query included
	credentials Credentials
	body        map[string]any // nil: no body
	secret      string         // in the body

	// decode parses the body of the answer. A partial error says that a part was left out, err that nothing can be used.
	decode func(body []byte) (partial, err error)
}

// do makes one API call: it waits for the rate limit, sends the request, checks the answer and decodes it. Its errors
// are of type *Error.
func (c *Client) do(ctx context.Context, r request) error {
	call := &Call{Operation: r.Operation}
	release, err := c.config.Limiter.acquire(ctx, c, call) //nolint:bodyclose // send closes it
	if err != nil {
		return c.finish(r, call, nil, err)
	}
	start := time.Now()
	body, err := c.send(ctx, r, call, release)
	var partial error
	if err == nil {
		partial, err = r.decode(body)
	}
	call.Duration = time.Since(start)
	return c.finish(r, call, partial, err)
}

// finish completes the error of a call, reports the call to the observer and returns the error.
func (c *Client) finish(r request, call *Call, partial, err error) error {
	clean := func(text string) string { return printable(redact(text, r.credentials.Token, r.secret)) }
	call.Warning = clean(call.Warning)
	if failure := cmp.Or(err, partial); failure != nil {
		e, ok := errors.AsType[*Error](failure)
		if !ok {
			e = &Error{Reason: ReasonMalformed, Err: failure}
		}
		call.Err = e
		e.Operation, e.StatusCode, e.RequestID, e.ResponseID = r.Operation, call.StatusCode, call.RequestID, call.ResponseID
		e.Description = clean(e.Description)
		if e.Err != nil && clean(e.Err.Error()) != e.Err.Error() { // net/http quotes what it cannot read
			e.Err = errors.New(clean(e.Err.Error()))
		}
	}
	if c.config.Observe != nil {
		c.config.Observe(*call)
	}
	if err != nil {
		return call.Err
	}
	return nil
}

// send makes the HTTP request and returns the body of a valid answer.
func (c *Client) send(ctx context.Context, r request, call *Call, release releaseFunc) ([]byte, error) {
	timeout := readTimeout
	if r.Method != http.MethodGet {
		timeout = writeTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := c.newRequest(ctx, r)
	if err != nil { // of the base URL
		release(&http.Response{}, nil)
		return nil, &Error{Reason: ReasonClient, Err: err}
	}
	call.RequestID = req.Header.Get(headerRequestID)
	// Not by an http.Client: it would follow redirects, which could carry the token to another host.
	resp, err := c.config.Transport.RoundTrip(req)
	release(resp, err)
	if err != nil {
		return nil, transportError(err)
	}
	defer func() { _ = resp.Body.Close() }()
	call.StatusCode = resp.StatusCode
	if id := resp.Header.Get("X-Bunq-Client-Response-Id"); uuid.Validate(id) == nil { // it ends up in logs and exemplars
		call.ResponseID = id
	}
	call.Warning = resp.Header.Get("X-Bunq-Warning")
	if resp.StatusCode < 200 { // 101 has a body without end
		return nil, statusError(resp, nil)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	echo := resp.Header.Get(headerRequestID)
	switch {
	case resp.StatusCode > 299:
		return nil, statusError(resp, body)
	case err != nil:
		return nil, transportError(err)
	case len(body) > maxBody:
		return nil, fmt.Errorf("answer is larger than %d bytes", maxBody)
	case echo != "" && !strings.EqualFold(echo, call.RequestID):
		return nil, errors.New("answer belongs to another request")
	case r.credentials.ServerKey != nil:
		err = verify(r.credentials.ServerKey, resp.StatusCode, resp.Header, body)
	}
	return body, err
}

// newRequest sets the request headers of bunq's documentation, and the signature of a body.
func (c *Client) newRequest(ctx context.Context, r request) (*http.Request, error) {
	var body []byte
	if r.body != nil {
		body, _ = json.Marshal(r.body) // of strings: it cannot fail
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, c.config.BaseURL+"/"+r.path, bytes.NewReader(body))
	if err != nil {
		return nil, err
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
		req.Header.Set("X-Bunq-Client-Signature", sign(r.credentials.PrivateKey, body))
	}
	return req, nil
}
