package bunq

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rsa"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/singleflight"
)

// Config says which account a [Client] reads, and where it keeps what it needs for that.
type Config struct {
	Environment Environment
	BaseURL     string // of the API, version included; "": the environment's

	// APIKey returns the API key, or "" if there is none; it is called whenever a login needs it. A nil APIKey is one
	// that returns "". A key in the context file is used where APIKey has none.
	APIKey func() (string, error)

	ContextFile  string   // made if it does not exist
	Description  string   // of the device server that is registered when there is no context yet; needed for that
	PermittedIPs []string // of that device server; none: the caller's address, as bunq sees it
	UserAgent    string   // name/version of the calling program; bunq refuses requests without one

	Transport http.RoundTripper // nil: one of NewTransport's
	Limiter   *Limiter          // shared by all clients whose calls leave from one address; nil: one of its own
	Observe   func(Call)        // told of every API call when it has ended, from several goroutines; may be nil
}

// Client reads device servers of one account. It is safe for concurrent use.
type Client struct {
	config Config
	base   *url.URL
	host   string // of the base URL, as the limiter knows it
	served turns

	logins singleflight.Group
	// What became of the last login; belongs to the one under way.
	tried    time.Time // when bunq was last asked to register or for a session
	failed   error     // nil if there is a session since
	refusals refusal   // of an API key
	missed   time.Time // when bunq was first seen not to have made the device server that it was asked for last

	files sync.Mutex // held while the context file is read or written: a disk that hangs must not hold up the rest

	mu       sync.Mutex
	context  *apiContext // nil before the file was read
	unsaved  error       // why the file is behind context; nil if it is not
	renewals int
	standing loginError // with bunq

	closed  string             // token of the last session that bunq did not take any more
	fresh   string             // token of a session that was opened and has not been of use yet
	refused map[string]refusal // readings that bunq refuses: by path to a session, by operation to an installation

	underWay bool // a login
	awaited  bool // it was waited for in vain
}

// New returns a client. It reads no file and sends nothing: the first reading does.
func New(config Config) (*Client, error) {
	config.BaseURL = cmp.Or(config.BaseURL, config.Environment.BaseURL())
	if config.BaseURL == "" {
		return nil, fmt.Errorf("the environment %q is neither production nor sandbox", config.Environment)
	}
	base, err := url.Parse(config.BaseURL)
	if err != nil || base.Host == "" || base.RawQuery != "" || base.Fragment != "" {
		return nil, errors.New("the base URL is not an address such as https://api.bunq.com/v1")
	}
	if config.ContextFile == "" {
		return nil, errors.New("a file must be named for the API context")
	}
	if config.Transport == nil {
		config.Transport = NewTransport()
	}
	if config.Limiter == nil {
		config.Limiter = NewLimiter()
	}
	host := strings.TrimSuffix(strings.ToLower(base.Host), ":443")
	return &Client{config: config, base: base, host: host, served: turns{}, refused: map[string]refusal{}}, nil
}

// NewTransport returns net/http's own transport, environment proxies included, that refuses TLS before 1.2 and keeps as
// many connections as many accounts at one host need.
func NewTransport() *http.Transport {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = transport.MaxIdleConns
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	return transport
}

// maxBody bounds an answer, in bytes: ten times the size of 200 device servers with long descriptions.
const maxBody = 4 << 20

// exchange is one request and what to do with its answer.
type exchange struct {
	Operation
	path   string // below the base URL, query included
	token  string // "" sends none
	body   any    // nil sends none
	secret string // that the body holds
	signer *rsa.PrivateKey
	server *rsa.PublicKey // nil: the answer cannot be verified
	decode func([]byte) error
}

// do makes one API call as soon as bunq's limits allow it.
func (c *Client) do(ctx context.Context, x exchange) error {
	leave, err := c.awaitTurn(ctx, x.Operation)
	if err != nil {
		return err
	}
	return c.send(ctx, x, leave)
}

// awaitTurn waits for leave to make a call. Its errors are of type *Error.
func (c *Client) awaitTurn(ctx context.Context, o Operation) (*permit, error) {
	leave, waited, err := c.config.Limiter.acquire(ctx, c.host, o, c.served)
	if err != nil {
		failed := &Error{Operation: o, Reason: ReasonRateLimited, Err: err}
		c.observe(Call{Operation: o, Waited: waited, Err: failed})
		return nil, failed
	}
	leave.waited = waited
	return leave, nil
}

func (c *Client) observe(call Call) {
	if c.config.Observe != nil {
		c.config.Observe(call)
	}
}

// send makes one API call and tells the observer of it. Its errors are of type *Error.
func (c *Client) send(ctx context.Context, x exchange, leave *permit) error {
	call := Call{Operation: x.Operation, Waited: leave.waited, RequestID: uuid.NewString()}
	start := time.Now()
	call.Err = c.exchange(ctx, x, &call, leave)
	call.Duration = time.Since(start)
	if e := call.Err; e != nil {
		e.Operation, e.StatusCode, e.RequestID, e.ResponseID = call.Operation, call.StatusCode, call.RequestID, call.ResponseID
		e.Description = cut(c.redact(e.Description, x.token, x.secret))
		e.Err = c.redactError(e.Err, x.token, x.secret)
	}
	call.Warning = cut(c.redact(call.Warning, x.token, x.secret))
	c.observe(call)
	if call.Err != nil {
		return call.Err
	}
	return nil
}

func (c *Client) exchange(ctx context.Context, x exchange, call *Call, leave *permit) *Error {
	req, err := c.newRequest(ctx, x, call.RequestID)
	if err != nil {
		leave.giveBack()
		return &Error{Reason: ReasonClient, Err: err}
	}
	if ctx.Err() != nil {
		leave.giveBack()
		return transportError(ctx.Err())
	}
	// Not by an http.Client: it would follow redirects, which could carry the token to another host.
	resp, err := c.config.Transport.RoundTrip(req)
	leave.end(resp, err)
	if err != nil {
		return transportError(err)
	}
	defer func() { _ = resp.Body.Close() }()
	call.StatusCode = resp.StatusCode
	call.ResponseID = responseID(resp.Header)
	call.Warning = resp.Header.Get("X-Bunq-Warning")

	body, err := readBody(resp)
	switch {
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		return statusError(resp, body)
	case err != nil:
		return transportError(err)
	case len(body) > maxBody:
		return &Error{Reason: ReasonMalformed, Err: fmt.Errorf("the answer is larger than %d bytes", maxBody)}
	}
	if x.server != nil {
		if err := verify(x.server, resp.StatusCode, resp.Header, body); err != nil {
			return &Error{Reason: ReasonSignature, Err: err}
		}
	}
	if err := x.decode(body); err != nil {
		return &Error{Reason: ReasonMalformed, Err: err}
	}
	return nil
}

// readBody reads an answer's body, or the first byte too many of it, into as much memory as the answer says that it needs.
func readBody(resp *http.Response) ([]byte, error) {
	size := min(max(resp.ContentLength, 0), maxBody)
	body := bytes.NewBuffer(make([]byte, 0, size+bytes.MinRead))
	_, err := body.ReadFrom(io.LimitReader(resp.Body, maxBody+1))
	return body.Bytes(), err
}

// newRequest sets the seven request headers of bunq's specification, and the signature where there is a body to sign.
func (c *Client) newRequest(ctx context.Context, x exchange, requestID string) (*http.Request, error) {
	var body []byte
	if x.body != nil {
		var err error
		if body, err = json.Marshal(x.body); err != nil {
			return nil, errors.New("the request body cannot be written as JSON")
		}
	}
	req, err := http.NewRequestWithContext(ctx, x.Method, strings.TrimSuffix(c.base.String(), "/")+"/"+x.path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Cache-Control", "no-cache")
	req.Header.Set("User-Agent", c.config.UserAgent)
	req.Header.Set("X-Bunq-Client-Request-Id", requestID)
	req.Header.Set("X-Bunq-Geolocation", "0 0 0 0 000") // unknown
	req.Header.Set("X-Bunq-Language", "en_US")          // so that error descriptions can be matched
	req.Header.Set("X-Bunq-Region", "nl_NL")
	if x.token != "" {
		req.Header.Set("X-Bunq-Client-Authentication", x.token)
	}
	if x.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if x.signer != nil {
		signature, err := sign(x.signer, body)
		if err != nil {
			return nil, fmt.Errorf("signing the request: %w", err)
		}
		req.Header.Set(headerClientSignature, signature)
	}
	return req, nil
}

// responseID returns the answer's id if it is the UUID that bunq sends: it ends in logs and exemplars.
func responseID(header http.Header) string {
	id := header.Get("X-Bunq-Client-Response-Id")
	if len(id) != len(uuid.Nil.String()) || uuid.Validate(id) != nil {
		return ""
	}
	return id
}

// redactError is for net/http's errors, which quote what it cannot read.
func (c *Client) redactError(err error, secrets ...string) error {
	if err == nil {
		return nil
	}
	if text := c.redact(err.Error(), secrets...); text != err.Error() {
		return errors.New(text)
	}
	return err
}

// redact takes the secrets that this client knows out of bunq's words, should bunq ever quote one.
func (c *Client) redact(text string, secrets ...string) string {
	if text == "" {
		return ""
	}
	if known := c.current(); known != nil {
		secrets = append(secrets, known.apiKey, known.token, known.session.token)
	}
	for _, secret := range secrets {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "[redacted]")
		}
	}
	return text
}
