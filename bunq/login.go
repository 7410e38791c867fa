package bunq

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
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
		if explained.state == LoginOK {
			login.SessionExpiry = c.context.session.expiry
		}
	}
	return login
}

// stands notes how the client stands with bunq.
func (c *Client) stands(cause cause, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.standing = loginError{cause, err}
}

// open reports whether the context has a session that lasts for the time given.
func (c *Client) open(known *apiContext, lasts time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return known.session.token != "" && known.session.token != c.closed && time.Until(known.session.expiry) > lasts
}

var errUnanswered = errors.New("bunq has not answered the login yet")

func tooSoon(wait time.Duration) error {
	return &Error{
		Operation: CreateSessionServer, Reason: ReasonRateLimited, RetryAfter: wait,
		Err: errors.New("bunq allows one login in 30 s, and the last one is not that long ago"),
	}
}

// errNoKey says that there is no API key to log in with, which need not be wrong.
var errNoKey = errors.New("there is no API key")

// authenticate returns a context with a session, after whatever is still missing of the handshake.
func (c *Client) authenticate(ctx context.Context, o Operation) (*apiContext, error) {
	known, err := c.load()
	if err != nil {
		c.stands(ownTrouble, err)
		return nil, err
	}
	key, err := c.apiKey(known)
	if err == nil && key == "" {
		if !c.installationReads(o) { // somebody may have put another file there
			_, _ = c.reread()
		}
		return nil, errNoKey
	}
	if !c.open(known, sessionLeeway) {
		return c.renew(ctx, known, o)
	}
	c.stands(sessionOpen, nil)
	return known, nil
}

// renew returns a context with a new session, or with the one before, if that has not ended and no other can be had.
func (c *Client) renew(ctx context.Context, known *apiContext, o Operation) (*apiContext, error) {
	err := c.logIn(ctx, c.open(known, 0) || c.installationReads(o))
	known = c.current()
	if c.open(known, 0) {
		c.stands(sessionOpen, nil)
		return known, nil
	}
	if err == nil { // a session that has ended already
		err = tooSoon(loginInterval)
	}
	// Without a key the reading tells; and where the scraper went away nothing is known.
	if !errors.Is(err, errNoKey) && !errors.Is(err, context.Canceled) {
		c.stands(explain(err).cause, err)
	}
	return nil, err
}

func (c *Client) apiKey(known *apiContext) (string, error) {
	if c.config.APIKey != nil {
		if key, err := c.config.APIKey(); err != nil || key != "" {
			return key, err
		}
	}
	return known.apiKey, nil
}

// logIn does what is missing of the handshake, or waits for whoever does it already. If there is another way of reading,
// it waits for no more than half of ctx's time, and not at all for a login that somebody has waited for in vain.
func (c *Client) logIn(ctx context.Context, otherwise bool) error {
	if otherwise {
		if c.waitedInVain() {
			return errUnanswered
		}
		if deadline, ok := ctx.Deadline(); ok {
			half, cancel := context.WithTimeout(ctx, time.Until(deadline)/2)
			defer cancel()
			ctx = half
		}
	}
	var own atomic.Bool              // whether the login under way is this call's
	goesOn := make(chan struct{}, 1) // it does not end with ctx any more
	done := c.logins.DoChan("", func() (any, error) {
		own.Store(true)
		c.setUnderWay(true)
		defer c.setUnderWay(false)
		return nil, c.handshake(ctx, func() { goesOn <- struct{}{} })
	})
	select {
	case result := <-done:
		return result.Err
	case <-ctx.Done():
	}
	if own.Load() {
		select {
		case result := <-done: // ended with ctx, and says with what
			return result.Err
		case <-goesOn:
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.awaited = c.underWay && errors.Is(ctx.Err(), context.DeadlineExceeded)
	return fmt.Errorf("%w: %w", errUnanswered, ctx.Err())
}

func (c *Client) waitedInVain() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.awaited
}

func (c *Client) setUnderWay(now bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.underWay, c.awaited = now, false
}
