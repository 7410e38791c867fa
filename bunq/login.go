package bunq

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"time"
)

// sessionLeeway is how long before its end a session is renewed: the SDKs do it when 30 s or less are left.
const sessionLeeway = 30 * time.Second

// Login is what a client knows of its own standing with bunq.
type Login struct {
	State           LoginState
	Explanation     string    // of the state: what is known of its cause, and what to do
	Err             error     // what the state follows from; nil where nothing failed
	DeviceServerID  int64     // of the client's own device server; 0 before it is registered, or if an SDK registered it
	SessionExpiry   time.Time // when the session ends; zero without one
	SessionRenewals int       // sessions that this client opened in place of an earlier one
	Unsaved         error     // why the context file is behind what is in use; nil if it is not
}

// Login returns what is known now. It neither waits nor sends anything.
func (c *Client) Login() Login {
	c.mu.Lock()
	defer c.mu.Unlock()
	explained := explanations[c.standing.cause]
	login := Login{
		State: explained.state, Explanation: explained.sentence, Err: c.standing.err,
		SessionRenewals: c.renewals, Unsaved: c.unsaved,
	}
	if c.context != nil {
		login.DeviceServerID = c.context.deviceServerID
		if session := c.context.session; session.token != c.closed && explained.state != LoginNoKey {
			login.SessionExpiry = session.expiry
		}
	}
	return login
}

// current returns the API context, nil before it was read.
func (c *Client) current() *apiContext {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.context
}

// stands notes how the client stands with bunq.
func (c *Client) stands(cause cause, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.standing = loginError{cause, err}
}

// standsWithoutKey notes how the client stands after a reading without a key.
func (c *Client) standsWithoutKey() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.standing = loginError{withoutKey, nil}
	if refused, ok := c.deaf[ListDeviceServers]; ok {
		c.standing = loginError{readingRefused, refused.err}
	}
}

// open reports whether the context has a session that lasts for the time given.
func (c *Client) open(known *apiContext, lasts time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return known.session.token != "" && known.session.token != c.closed && time.Until(known.session.expiry) > lasts
}

// access is what a reading is authenticated with.
type access struct {
	token   string
	server  *rsa.PublicKey
	session bool  // or else the installation
	err     error // why there is no session; nil if there is one, or no API key
}

// authenticate returns what an operation is to be authenticated with, after whatever is still missing of the handshake:
// a session, or, where there is no API key or no session can be had, the installation.
func (c *Client) authenticate(ctx context.Context, o Operation) (access, error) {
	known, err := c.load()
	if err != nil {
		c.stands(ownTrouble, err)
		return access{}, err
	}
	key, err := c.apiKey(known)
	if err == nil && key == "" {
		return c.withoutKey(known)
	}
	if !c.open(known, sessionLeeway) {
		return c.renew(ctx, known, o)
	}
	c.stands(sessionOpen, nil)
	return access{token: known.session.token, server: known.serverKey, session: true}, nil
}

// renew returns a new session. If none can be had it is what else there is: the session before, if it has not ended, or
// the installation, unless bunq is known not to take that. One without a device server belongs to no account, so to read
// with it would show none.
func (c *Client) renew(ctx context.Context, known *apiContext, o Operation) (access, error) {
	lasts := c.open(known, 0)
	otherwise := lasts || known.registered && c.refusedTo(known.token, o) == nil
	err := c.logIn(ctx, otherwise)
	known = c.current()
	switch {
	case c.open(known, 0):
		c.stands(sessionOpen, nil)
		return access{token: known.session.token, server: known.serverKey, session: true}, nil
	case err == nil: // the file that was read again has no key any more
		return c.withoutKey(known)
	case !errors.Is(err, context.Canceled): // or the scraper went away, and nothing is known
		explained := explain(err)
		c.stands(explained.cause, err)
	}
	if otherwise {
		return access{token: known.token, server: known.serverKey, err: err}, nil
	}
	return access{}, err
}

// withoutKey returns the installation. Where there is none, there is nothing to read with.
func (c *Client) withoutKey(known *apiContext) (access, error) {
	if !known.registered {
		err := fmt.Errorf("there is neither an API key nor a registered installation in %s: provide an API key, or name "+
			"the context file of an installation that exists", c.config.ContextFile)
		c.stands(withoutAnything, err)
		return access{}, err
	}
	return access{token: known.token, server: known.serverKey}, nil
}

func (c *Client) apiKey(known *apiContext) (string, error) {
	if c.config.APIKey != nil {
		if key, err := c.config.APIKey(); err != nil || key != "" {
			return key, err
		}
	}
	return known.apiKey, nil
}

// read makes an authenticated GET, once more with a new session if bunq refuses the one at hand.
func (c *Client) read(ctx context.Context, x exchange) error {
	for {
		a, err := c.authenticate(ctx, x.Operation)
		switch {
		case err != nil:
		case !a.session:
			err = c.readWithInstallation(ctx, x)
			if a.err == nil {
				c.standsWithoutKey()
			} else if ReasonOf(err) == ReasonUnauthorized {
				err = a.err // the news is why there is no session
			}
		default:
			x.token, x.server = a.token, a.server
			err = c.do(ctx, x)
			if ReasonOf(err) == ReasonUnauthorized {
				c.closes(a.token, err)
				continue
			}
		}
		if closed := c.closedError(); closed != nil && errors.Is(err, errTooSoon) {
			return closed // what bunq says of the session that it has opened is the news
		}
		return err
	}
}

// closes notes that bunq does not take a session any more.
func (c *Client) closes(token string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed, c.closedErr = token, err
}

// closedError returns what bunq said of the last session, nil if it still takes it.
func (c *Client) closedError() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.context == nil || c.context.session.token != c.closed {
		return nil
	}
	return c.closedErr
}

// readWithInstallation makes a GET with the installation's token. Where bunq has refused that, it is not tried again for
// a while.
func (c *Client) readWithInstallation(ctx context.Context, x exchange) error {
	known := c.current()
	if err := c.refusedTo(known.token, x.Operation); err != nil {
		return err
	}
	x.token, x.server = known.token, known.serverKey
	err := c.do(ctx, x)
	c.mu.Lock()
	defer c.mu.Unlock()
	if ReasonOf(err) == ReasonUnauthorized {
		c.deaf[x.Operation] = c.deaf[x.Operation].again(known.token, err)
	} else if err == nil {
		delete(c.deaf, x.Operation)
	}
	return err
}

// refusedTo returns bunq's refusal to let an installation's token read, nil if it may be tried.
func (c *Client) refusedTo(token string, o Operation) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.deaf[o].holds(token) {
		return c.deaf[o].err
	}
	return nil
}

// refusal is what bunq has refused, and how long it is not asked again.
type refusal struct {
	secret string // that it has refused
	err    error
	pause  time.Duration
	until  time.Time
}

// The shortest and the longest pause after a refusal. It doubles each time: all programs behind an address share its
// limits, and the others may have more success.
const (
	firstPause = 30 * time.Second
	maxPause   = 5 * time.Minute
)

// again returns the refusal after one more.
func (r refusal) again(secret string, err error) refusal {
	pause := firstPause
	if r.secret == secret {
		pause = min(2*r.pause, maxPause)
	}
	return refusal{secret, err, pause, time.Now().Add(pause)}
}

func (r refusal) holds(secret string) bool { return r.secret == secret && time.Now().Before(r.until) }

// load reads the context file once, and writes it again where an earlier attempt to write it failed.
func (c *Client) load() (*apiContext, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.context == nil || c.unsaved != nil {
		known, err := readContext(c.config.ContextFile, c.config.Environment)
		switch {
		case c.context == nil && err != nil:
			return nil, err
		case c.context == nil:
			c.context = known
		case err != nil:
			c.unsaved = err
		case known.token != "" && known.token != c.context.token: // of another process, that has registered meanwhile
			c.context, c.unsaved = known, nil
		default:
			c.unsaved = c.context.write(c.config.ContextFile)
		}
	}
	return c.context, nil
}

// reread reads the context file again, unless it is behind what is in use, or gone.
func (c *Client) reread() (*apiContext, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.unsaved != nil {
		return c.context, nil
	}
	known, err := readContext(c.config.ContextFile, c.config.Environment)
	if err != nil {
		return nil, err
	}
	if known.document != nil {
		c.context = known
	}
	return c.context, nil
}

// commit takes over a new context if it can be written.
func (c *Client) commit(next *apiContext) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := next.write(c.config.ContextFile); err != nil {
		return err
	}
	c.context, c.unsaved = next, nil
	return nil
}

// keep takes over a new context, and writes it if it can: what bunq has made must not be made twice, and what can be
// read should be. Login tells of the error.
func (c *Client) keep(next *apiContext) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.context = next
	c.unsaved = next.write(c.config.ContextFile)
}
